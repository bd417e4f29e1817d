// deltavino._deltavino: the public headers, with option structs as classes. The signatures that users see are those
// of python/deltavino/__init__.py.
#include "sink.hpp"

#include <deltavino/bench.hpp>
#include <deltavino/build_model.hpp>
#include <deltavino/cache.hpp>
#include <deltavino/check.hpp>
#include <deltavino/evaluate.hpp>
#include <deltavino/export.hpp>
#include <deltavino/generate.hpp>
#include <deltavino/hub.hpp>
#include <deltavino/inspect.hpp>
#include <deltavino/version.hpp>

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>

namespace deltavino::python {
namespace {

// Python's class of each kind is in deltavino._errors.
void translate(const std::exception_ptr& thrown, void*) {
    try {
        std::rethrow_exception(thrown);
    } catch (const Error& error) {
        const nb::object made =
            nb::module_::import_("deltavino._errors").attr("make")(error.exit_code(), std::string(error.what()));
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
    }
}

// A runner and the sink that must outlive it.
class PythonRunner {
public:
    PythonRunner(const RunnerOptions& options, nb::object note) : sink_(nb::none(), std::move(note)) {
        sink_.run([&] { runner_ = std::make_unique<Runner>(options, sink_); });
    }

    void begin(const std::optional<std::string>& system, const std::string& messages) {
        sink_.run([&] { runner_->begin(system, messages); });
    }

    // `piece` gets text as it is made.
    Answer answer(const std::string& text, const std::string& message, std::vector<std::filesystem::path> images,
                  const GenerateOptions& options, bool raw, const nb::callable& piece) {
        const Question question{text, std::move(images), message};
        const TextSink take = [&](std::string_view made) {
            sink_.call([&] { piece(nb::str(made.data(), made.size())); });
        };
        Answer answer = sink_.run(
            [&] { return raw ? runner_->complete(question, options, take) : runner_->ask(question, options, take); });
        sink_.raise_failure();
        return answer;
    }

    bool takes_pictures() const { return runner_->takes_pictures(); }
    bool remembers() const { return runner_->remembers(); }
    void stop() { sink_.stop.set(); }
    void resume() { sink_.stop.clear(); }

private:
    Sink sink_;
    std::unique_ptr<Runner> runner_;
};

void bind_options(nb::module_& m) {
    nb::class_<CompressionOptions>(m, "CompressionOptions")
        .def(nb::init<>())
        .def_rw("weight_format", &CompressionOptions::weight_format)
        .def_rw("recipe", &CompressionOptions::recipe)
        .def_rw("target_size", &CompressionOptions::target_size)
        .def_rw("target_bits", &CompressionOptions::target_bits, nb::arg().none())
        .def_rw("sym", &CompressionOptions::sym)
        .def_rw("group_size", &CompressionOptions::group_size, nb::arg().none())
        .def_rw("group_size_fallback", &CompressionOptions::group_size_fallback)
        .def_rw("ratio", &CompressionOptions::ratio, nb::arg().none())
        .def_rw("backup_precision", &CompressionOptions::backup_precision)
        .def_rw("all_layers", &CompressionOptions::all_layers)
        .def_rw("keep", &CompressionOptions::keep)
        .def_rw("scale_search", &CompressionOptions::scale_search)
        .def_rw("calibrate", &CompressionOptions::calibrate)
        .def_rw("calibration_tokens", &CompressionOptions::calibration_tokens)
        .def_rw("dynamic_quantization", &CompressionOptions::dynamic_quantization, nb::arg().none());
    nb::class_<ExportOptions>(m, "ExportOptions")
        .def(nb::init<>())
        .def_rw("model", &ExportOptions::model)
        .def_rw("output", &ExportOptions::output)
        .def_rw("lora", &ExportOptions::lora)
        .def_rw("task", &ExportOptions::task)
        .def_rw("compression", &ExportOptions::compression)
        .def_rw("report", &ExportOptions::report)
        .def_rw("force", &ExportOptions::force)
        .def_rw("sync", &ExportOptions::sync)
        .def_rw("convert_tokenizer", &ExportOptions::convert_tokenizer)
        .def_rw("mtp", &ExportOptions::mtp)
        .def_rw("assume_tied_head", &ExportOptions::assume_tied_head)
        .def_rw("allow_nonfinite", &ExportOptions::allow_nonfinite)
        .def_rw("threads", &ExportOptions::threads)
        .def_rw("ovms", &ExportOptions::ovms, nb::arg().none())
        .def_rw("dry_run", &ExportOptions::dry_run);
    nb::class_<BuildOptions>(m, "BuildOptions")
        .def(nb::init<>())
        .def_rw("model", &BuildOptions::model)
        .def_rw("lora", &BuildOptions::lora)
        .def_rw("task", &BuildOptions::task)
        .def_rw("compression", &BuildOptions::compression)
        .def_rw("mtp", &BuildOptions::mtp)
        .def_rw("assume_tied_head", &BuildOptions::assume_tied_head)
        .def_rw("allow_nonfinite", &BuildOptions::allow_nonfinite)
        .def_rw("threads", &BuildOptions::threads);
    nb::class_<CheckOptions>(m, "CheckOptions")
        .def(nb::init<>())
        .def_rw("model", &CheckOptions::model)
        .def_rw("against", &CheckOptions::against)
        .def_rw("lora", &CheckOptions::lora)
        .def_rw("adapter", &CheckOptions::adapter)
        .def_rw("text", &CheckOptions::text)
        .def_rw("prompt", &CheckOptions::prompt)
        .def_rw("image", &CheckOptions::image)
        .def_rw("tokens", &CheckOptions::tokens)
        .def_rw("device", &CheckOptions::device)
        .def_rw("threads", &CheckOptions::threads);
    nb::class_<EvaluationOptions>(m, "EvaluationOptions")
        .def(nb::init<>())
        .def_rw("text", &EvaluationOptions::text)
        .def_rw("models", &EvaluationOptions::models)
        .def_rw("against", &EvaluationOptions::against)
        .def_rw("lora", &EvaluationOptions::lora)
        .def_rw("window", &EvaluationOptions::window)
        .def_rw("windows", &EvaluationOptions::windows)
        .def_rw("device", &EvaluationOptions::device)
        .def_rw("precision", &EvaluationOptions::precision)
        .def_rw("as_generate", &EvaluationOptions::as_generate)
        .def_rw("threads", &EvaluationOptions::threads);
    nb::class_<BenchOptions>(m, "BenchOptions")
        .def(nb::init<>())
        .def_rw("model", &BenchOptions::model)
        .def_rw("against", &BenchOptions::against)
        .def_rw("prompt_tokens", &BenchOptions::prompt_tokens)
        .def_rw("new_tokens", &BenchOptions::new_tokens)
        .def_rw("rounds", &BenchOptions::rounds)
        .def_rw("device", &BenchOptions::device)
        .def_rw("precision", &BenchOptions::precision)
        .def_rw("threads", &BenchOptions::threads)
        .def_rw("plugin_only", &BenchOptions::plugin_only)
        .def_rw("profile", &BenchOptions::profile)
        .def_rw("program", &BenchOptions::program);
    nb::class_<RunnerOptions>(m, "RunnerOptions")
        .def(nb::init<>())
        .def_rw("model", &RunnerOptions::model)
        .def_rw("device", &RunnerOptions::device)
        .def_rw("precision", &RunnerOptions::precision)
        .def_rw("threads", &RunnerOptions::threads)
        .def_rw("compiled_cache", &RunnerOptions::compiled_cache)
        .def_rw("plugin_only", &RunnerOptions::plugin_only)
        .def_rw("speculate", &RunnerOptions::speculate)
        .def_rw("one_question", &RunnerOptions::one_question);
    nb::class_<GenerateOptions>(m, "GenerateOptions")
        .def(nb::init<>())
        .def_rw("max_new_tokens", &GenerateOptions::max_new_tokens, nb::arg().none())
        .def_rw("temperature", &GenerateOptions::temperature, nb::arg().none())
        .def_rw("top_k", &GenerateOptions::top_k, nb::arg().none())
        .def_rw("top_p", &GenerateOptions::top_p, nb::arg().none())
        .def_rw("min_p", &GenerateOptions::min_p, nb::arg().none())
        .def_rw("repetition_penalty", &GenerateOptions::repetition_penalty, nb::arg().none())
        .def_rw("presence_penalty", &GenerateOptions::presence_penalty, nb::arg().none())
        .def_rw("frequency_penalty", &GenerateOptions::frequency_penalty, nb::arg().none())
        .def_rw("stop_strings", &GenerateOptions::stop_strings)
        .def_rw("seed", &GenerateOptions::seed)
        .def_rw("ignore_eos", &GenerateOptions::ignore_eos)
        .def_rw("thinking", &GenerateOptions::thinking, nb::arg().none())
        .def_rw("tools", &GenerateOptions::tools)
        .def_rw("chat_template_kwargs", &GenerateOptions::chat_template_kwargs);
}

void bind_results(nb::module_& m) {
    nb::class_<ExportedFile>(m, "ExportedFile")
        .def_ro("name", &ExportedFile::name)
        .def_ro("bytes", &ExportedFile::bytes);
    nb::class_<TensorReport>(m, "TensorReport", "What became of one weight.")
        .def_ro("model", &TensorReport::model)
        .def_ro("name", &TensorReport::name)
        .def_ro("role", &TensorReport::role)
        .def_ro("storage", &TensorReport::storage)
        .def_ro("reason", &TensorReport::reason)
        .def_ro("rows", &TensorReport::rows)
        .def_ro("columns", &TensorReport::columns)
        .def_ro("bytes_read", &TensorReport::bytes_read)
        .def_ro("bytes_written", &TensorReport::bytes_written)
        .def_ro("adapter", &TensorReport::adapter)
        .def_ro("relative_error", &TensorReport::relative_error);
    nb::class_<ExportSummary>(m, "ExportSummary", "What an export wrote, or a dry run would.")
        .def_ro("model_type", &ExportSummary::model_type)
        .def_ro("task", &ExportSummary::task)
        .def_ro("recipe", &ExportSummary::recipe)
        .def_ro("tensors", &ExportSummary::tensors)
        .def_ro("files", &ExportSummary::files)
        .def_ro("bytes_read", &ExportSummary::bytes_read)
        .def_ro("bytes_written", &ExportSummary::bytes_written)
        .def_ro("seconds", &ExportSummary::seconds);
    nb::class_<CachedDirectory>(m, "CachedDirectory", "An export of the cache, which stays while this object lives.")
        .def_ro("directory", &CachedDirectory::directory);
    nb::class_<Evaluation>(m, "Evaluation")
        .def_ro("model", &Evaluation::model)
        .def_ro("perplexity", &Evaluation::perplexity)
        .def_ro("kl_divergence", &Evaluation::kl_divergence)
        .def_ro("top1_agreement", &Evaluation::top1_agreement)
        .def_ro("weight_bytes", &Evaluation::weight_bytes);
    nb::class_<EvaluationReport>(m, "EvaluationReport")
        .def_ro("windows", &EvaluationReport::windows)
        .def_ro("window", &EvaluationReport::window)
        .def_ro("models", &EvaluationReport::models);
    nb::class_<CheckReport>(m, "CheckReport")
        .def_ro("good", &CheckReport::good)
        .def_ro("verdict", &CheckReport::verdict)
        .def_ro("advice", &CheckReport::advice)
        .def("text", &check_text, "The report for people.")
        .def("json", &check_json, "The report for programs.")
        .def("html", &check_html, "The report as one page with plots.");
    nb::enum_<FinishReason>(m, "FinishReason")
        .value("EndOfSequence", FinishReason::EndOfSequence)
        .value("StopString", FinishReason::StopString)
        .value("Length", FinishReason::Length)
        .value("Cancelled", FinishReason::Cancelled);
    nb::class_<Answer>(m, "Answer", "What was generated, and how.")
        .def_ro("text", &Answer::text)
        .def_ro("ids", &Answer::ids)
        .def_ro("prompt", &Answer::prompt)
        .def_ro("prompt_ids", &Answer::prompt_ids)
        .def_ro("context_tokens", &Answer::context_tokens)
        .def_ro("finish", &Answer::finish)
        .def_ro("first_token_seconds", &Answer::first_token_seconds)
        .def_ro("later_token_seconds", &Answer::later_token_seconds)
        .def_ro("drafted_tokens", &Answer::drafted_tokens)
        .def_ro("accepted_tokens", &Answer::accepted_tokens);
}

void bind_calls(nb::module_& m) {
    m.def("version", &version);
    m.def("openvino_version", &openvino_version);
    nb::class_<Sink>(m, "Sink", "Hears progress(stage, done, total) and note(sentence).")
        .def(nb::init<nb::object, nb::object>(), nb::arg("progress").none(), nb::arg("note").none());
    m.def("resolve_checkpoint",
          [](const std::string& model, const std::string& revision, const std::filesystem::path& cache_dir,
             Sink& sink) { return sink.run([&] { return resolve_checkpoint(model, {revision, cache_dir}, sink); }); });
    m.def(
        "export_model",
        [](ExportOptions options, bool verify, Sink& sink) {
            if (verify) {
                options.before_publishing = [&](const std::filesystem::path& directory) {
                    verify_export(directory, options, sink);
                };
            }
            return sink.run([&] { return export_model(options, sink); });
        },
        nb::arg("options"), nb::arg("verify"), nb::arg("sink"));
    m.def("inspect", [](const std::filesystem::path& path, const std::string& device) {
        const nb::gil_scoped_release released;
        return inspect(path, device).json();
    });
    m.def("is_exported", &is_exported);
    m.def("export_to_cache",
          [](const std::string& model, const std::string& revision, const std::filesystem::path& cache_dir,
             const std::string& task, const CompressionOptions& compression, unsigned threads,
             const std::filesystem::path& lora, Sink& sink) {
              const CachedExport wanted{model, {revision, cache_dir}, task, compression, threads, lora};
              return sink.run([&] { return export_to_cache(wanted, sink); });
          });
    m.def("check",
          [](const CheckOptions& options, Sink& sink) { return sink.run([&] { return check(options, sink); }); });
    m.def("evaluate", [](const EvaluationOptions& options, Sink& sink) {
        return sink.run([&] { return evaluate(options, sink); });
    });
    m.def("bench", [](const BenchOptions& options, Sink& sink) {
        return sink.run([&] { return bench_json(bench(options, sink)); });
    });
    // memory(name, bytes) returns the address of zeroed memory that stays. Gives names and texts of the .xml.
    m.def("serialize_models", [](BuildOptions options, const nb::callable& memory, Sink& sink) {
        options.memory = [&](const std::string& name, std::uint64_t bytes) {
            std::uintptr_t address = 0;
            sink.call([&] { address = nb::cast<std::uintptr_t>(memory(name, bytes)); });
            if (address == 0) {
                throw Error(ErrorKind::Cancelled, "stopped");
            }
            return std::shared_ptr<std::byte[]>(reinterpret_cast<std::byte*>(address), [](std::byte*) {});
        };
        const std::vector<SerializedModel> models = sink.run([&] { return serialize_models(options, sink); });
        nb::dict texts;
        for (const SerializedModel& model : models) {
            texts[model.name.c_str()] = model.xml;
        }
        return texts;
    });
    nb::class_<PythonRunner>(m, "Runner")
        .def(nb::init<const RunnerOptions&, nb::object>(), nb::arg("options"), nb::arg("note").none())
        .def("begin", &PythonRunner::begin, nb::arg("system").none(), nb::arg("messages"))
        .def("answer", &PythonRunner::answer)
        .def("stop", &PythonRunner::stop)
        .def("resume", &PythonRunner::resume)
        .def_prop_ro("takes_pictures", &PythonRunner::takes_pictures)
        .def_prop_ro("remembers", &PythonRunner::remembers);
}

}  // namespace
}  // namespace deltavino::python

NB_MODULE(_deltavino, m) {
    nanobind::register_exception_translator(deltavino::python::translate);
    deltavino::python::bind_options(m);
    deltavino::python::bind_results(m);
    deltavino::python::bind_calls(m);
}
