// The order of a check: read, structure, tokenizer, weights, forwards, forms, verdict.
//
// Three forwards over the same tokens tell causes apart:
//   (a) the reference on the checkpoint's weights
//   (b) the reference on the exported weights
//   (c) the runtime on the exported model, in float32 and as the device likes it
// (a)-(b) is what compression costs, (b)-(c in float32) is the graph and the kernels, (c in float32)-(c) is the
// device's precision.
#include <deltavino/check.hpp>
#include <deltavino/version.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "base/text.hpp"
#include "evaluate/adapter_check.hpp"
#include "evaluate/advice.hpp"
#include "evaluate/comparison.hpp"
#include "evaluate/directory_model.hpp"
#include "evaluate/draft_check.hpp"
#include "evaluate/forms.hpp"
#include "evaluate/fusions.hpp"
#include "evaluate/ir_weights.hpp"
#include "evaluate/structure.hpp"
#include "evaluate/truth.hpp"
#include "evaluate/vision_check.hpp"
#include "evaluate/weight_check.hpp"
#include "runtime/chat/tokenizer.hpp"
#include "runtime/openvino_call.hpp"

#include <algorithm>

namespace deltavino {
namespace {

using namespace evaluation;
namespace fs = std::filesystem;

// Up to this many tokens are read in one piece and compared at every position; of more, a sample.
constexpr std::size_t kWhole = 512;
constexpr std::size_t kPiece = 256;

class Check {
public:
    Check(const CheckOptions& options, ProgressSink& progress) : options_(options), progress_(progress) {}

    CheckReport run() {
        describe();
        add(check_files(options_.model));
        DirectoryModel model(core_, options_.model, [this] { return progress_.cancelled(); });
        const LayerCounts layers = count_layers(*model.language());
        add(check_graph(model));
        prediction_ = read_prediction_model(core_, options_.model);
        if (prediction_ != nullptr) {
            const std::vector<CheckItem> found = check_prediction_graph(*prediction_);
            add(found);
            predicts_ = std::all_of(found.begin(), found.end(),
                                    [](const CheckItem& item) { return item.finding != Finding::Bad; });
        }
        if (!options_.adapter.empty()) {
            add(check_adapter(*model.language(), options_.adapter));
        }
        const Ids ids = read_text();
        report_.tokens = ids.size();
        const std::vector<std::size_t> wanted = compared_positions(ids.size(), kWhole);

        step("runtime in float32");
        model.compile(options_.device, "f32");
        const OperationCounts in_float32 = model.operations();
        const std::size_t piece = ids.size() <= kWhole ? ids.size() : kPiece;
        const Matrix exact = model.logits(ids, wanted, piece);
        step("forms");
        add(check_forms(core_, {model, options_.device, ids, wanted, exact}, layers));
        if (!options_.against.empty()) {
            against_checkpoint(model, ids, wanted, exact);
        }
        step("runtime in its own precision");
        model.compile(options_.device, "");
        check_compiled(in_float32, model.operations(), layers);
        compare_precision(exact, model.logits(ids, wanted, piece), wanted);
        conclude(report_);
        advise(report_, options_);
        return std::move(report_);
    }

private:
    void add(std::vector<CheckItem> items) { std::move(items.begin(), items.end(), std::back_inserter(report_.items)); }

    void step(const char* stage) {
        constexpr std::uint64_t kSteps = 8;
        progress_.update(stage, std::min(++steps_, kSteps), kSteps);
        if (progress_.cancelled()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
    }

    void describe() {
        report_.openvino = openvino_version();
        const auto given = [](const char* option, const fs::path& value) {
            return value.empty() ? std::string() : fmt::format(" {} {}", option, value.string());
        };
        report_.command = fmt::format("deltavino check {}{}{}{} --tokens {} --device {}", options_.model.string(),
                                      given("--against", options_.against), given("--lora", options_.lora),
                                      given("--adapter", options_.adapter), options_.tokens, options_.device);
        runtime::openvino_call(ErrorKind::Usage, fmt::format("use device '{}'", options_.device),
                               [&] { report_.device = core_.get_property(options_.device, ov::device::full_name); });
    }

    Ids read_text() {
        std::string text = options_.prompt;
        if (text.empty()) {
            text = options_.text.empty() ? std::string(kBuiltInText) : read_text_file(options_.text);
        }
        runtime::Tokenizer tokenizer(core_, options_.model);
        Ids ids = tokenizer.encode(text);
        ids.resize(std::min(ids.size(), options_.tokens));
        if (ids.size() < 2) {
            fail(ErrorKind::Usage, "cannot check with a text of {} tokens, expected at least 2", ids.size());
        }
        const fs::path source = options_.against.empty() ? options_.model : options_.against;
        add(check_tokenizer(core_, options_.model, source / "tokenizer.json"));
        return ids;
    }

    void against_checkpoint(DirectoryModel& model, const Ids& ids, const std::vector<std::size_t>& wanted,
                            const Matrix& exact) {
        step("weights");
        const Truth truth(options_.against, options_.lora, options_.threads, [this] { return progress_.cancelled(); });
        const auto tower = model.takes_embeddings() ? read_vision_models(core_, options_.model)
                                                    : std::vector<std::shared_ptr<ov::Model>>();
        auto models = model.models();
        models.insert(models.end(), tower.begin(), tower.end());
        const bool has_layer = truth.config().text.mtp_num_hidden_layers == 1;
        if (prediction_ != nullptr && has_layer) {
            models.push_back(prediction_);
        }
        const IrWeights exported(models, truth.weights());
        report_.weights = compare_weights(exported, truth.weights(), report_.items);

        step("reference on the checkpoint");
        const Matrix of_checkpoint = truth.logits(ids, wanted);

        step("reference on the exported weights");
        const reference::TextModel judged = truth.model_on(exported);
        LayerOutputs halves;
        if (ids.size() <= kWhole) {
            halves = model.layer_outputs({ids}, options_.device);
        }
        report_.layers.clear();
        const auto compare_half = [&](const LayerPlace& place, const auto& x) {
            if (const auto found = halves.find(place); found != halves.end()) {
                report_.layers.push_back({place.text(), relative_distance(x, found->second)});
            }
        };
        const Matrix hidden = judged.forward(
            judged.embed(ids), reference::sequential_positions(ids.size()),
            [&](std::uint64_t layer, const auto& x) {
                compare_half({layer, true}, x);
                truth.stop_if_asked();
            },
            [&](std::uint64_t layer, const auto& x) { compare_half({layer, false}, x); });
        const Matrix of_export = judged.logits(rows_of(hidden, wanted));
        report_.divergences.push_back(compare("compression", "the checkpoint's weights against the exported ones",
                                              of_checkpoint, of_export, wanted));
        report_.divergences.push_back(compare("graph",
                                              "the exported weights by the reference against the runtime in "
                                              "float32",
                                              of_export, exact, wanted));
        report_.divergences.push_back(
            compare("all in float32", "the checkpoint against the runtime in float32", of_checkpoint, exact, wanted));
        if (predicts_) {
            predict(truth, exported, ids, hidden);
        }
        if (!tower.empty()) {
            look_at_picture(model, truth, exported, ids);
        }
    }

    void predict(const Truth& truth, const IrWeights& exported, const Ids& ids, const Matrix& hidden) {
        step("multi-token prediction");
        if (truth.config().text.mtp_num_hidden_layers != 1) {
            add({{"multi-token prediction", "drafts", Finding::Note,
                  "the checkpoint has no such layer to compare with"}});
            return;
        }
        DraftFindings found = check_drafts({core_, options_, prediction_, truth, exported, ids, hidden});
        add(std::move(found.items));
        std::move(found.divergences.begin(), found.divergences.end(), std::back_inserter(report_.divergences));
    }

    void look_at_picture(DirectoryModel& model, const Truth& truth, const IrWeights& exported, const Ids& ids) {
        step("picture");
        const checkpoint::ModelConfig& config = truth.config();
        if (!config.vision || config.vision_refusal) {
            add({{"vision tower", "pictures", Finding::Note, "the checkpoint has no vision tower to compare with"}});
            return;
        }
        PictureFindings found = check_picture({core_, options_, model, truth, exported, ids});
        add(std::move(found.items));
        std::move(found.divergences.begin(), found.divergences.end(), std::back_inserter(report_.divergences));
    }

    // The graph that users run; the one in float32 only where it is another.
    void check_compiled(const OperationCounts& in_float32, const OperationCounts& own, const LayerCounts& layers) {
        add(check_fusions(own, layers, options_.device, Form::Stateful, device_precision(core_, options_.device)));
        for (CheckItem& item : check_fusions(in_float32, layers, options_.device, Form::Stateful, "f32")) {
            if (item.finding != Finding::Good) {
                item.subject += " in float32";
                add({std::move(item)});
            }
        }
    }

    void compare_precision(const Matrix& exact, const Matrix& own, const std::vector<std::size_t>& wanted) {
        report_.precision = device_precision(core_, options_.device);
        report_.divergences.push_back(
            compare("precision", fmt::format("the runtime in float32 against its own choice, {}", report_.precision),
                    exact, own, wanted));
    }

    CheckOptions options_;
    ProgressSink& progress_;
    ov::Core core_;
    CheckReport report_;
    std::shared_ptr<ov::Model> prediction_;  // null: the directory has none
    bool predicts_ = false;                  // it can be run
    std::uint64_t steps_ = 0;
};

}  // namespace

CheckReport check(const CheckOptions& options, ProgressSink& progress) {
    return guarded("cannot check", [&]() {
        return runtime::openvino_call(ErrorKind::Input, fmt::format("check '{}'", options.model.string()),
                                      [&]() { return Check(options, progress).run(); });
    });
}

}  // namespace deltavino
