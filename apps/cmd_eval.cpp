#include "commands.hpp"
#include "progress_bar.hpp"

#include "base/text.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace deltavino::app {

int run_eval(const EvalCommand& command) {
    EvaluationOptions options = command.options;
    RunRecipe recipe = command.recipe;
    if (!options.against.empty()) {
        options.lora = recipe.wanted.lora;
        std::erase(recipe.given, "--lora");  // it has a checkpoint to go into, whatever the models are
    }
    const std::vector<CachedDirectory> directories = runnable(options.models, recipe);
    std::transform(directories.begin(), directories.end(), options.models.begin(),
                   [](const CachedDirectory& model) { return model.directory; });
    EvaluationReport report;
    {
        ProgressBar progress(ProgressUnit::Items);
        if (!options.against.empty()) {
            options.against = resolve_checkpoint(options.against.string(), command.recipe.wanted.hub, progress);
        }
        report = evaluate(options, progress);
    }
    const std::size_t references = report.models.size() - options.models.size();  // 1 with --against
    for (std::size_t i = 0; i < options.models.size(); ++i) {
        report.models[references + i].model = command.options.models[i];  // as typed, not a folder of the cache
    }
    if (command.json) {
        nlohmann::ordered_json out{
            {"windows", report.windows}, {"window", report.window}, {"models", nlohmann::ordered_json::array()}};
        for (const Evaluation& model : report.models) {
            out["models"].push_back({{"model", model.model.string()},
                                     {"perplexity", model.perplexity},
                                     {"kl_divergence", model.kl_divergence},
                                     {"top1_agreement", model.top1_agreement},
                                     {"weight_bytes", model.weight_bytes}});
        }
        fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
        return 0;
    }
    std::vector<std::vector<std::string>> rows{{"model", "weights", "perplexity", "gap", "KL", "same top token"}};
    for (const Evaluation& model : report.models) {
        const double gap = model.perplexity - report.models.front().perplexity;
        rows.push_back({model.model.string(), human_bytes(model.weight_bytes), fmt::format("{:.4f}", model.perplexity),
                        fmt::format("{:+.4f}", gap), fmt::format("{:.6f}", model.kl_divergence),
                        fmt::format("{:.2f} %", 100.0 * model.top1_agreement)});
    }
    fmt::print("{}\n{} windows of {} tokens; the first {} is the reference of gap, KL and top token\n",
               format_table(rows), report.windows, report.window,
               command.options.against.empty() ? "model" : "line, the checkpoint computed in float32,");
    return 0;
}

}  // namespace deltavino::app
