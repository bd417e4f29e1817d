#include "models/registry.hpp"

#include "base/error.hpp"

#include <array>

namespace deltavino::models {

namespace {

struct NamedTask {
    Task task;
    const char* name;
};

constexpr std::array kTasks{
    NamedTask{Task::TextGeneration, "text-generation-with-past"},
    NamedTask{Task::ImageTextToText, "image-text-to-text"},
    NamedTask{Task::FeatureExtraction, "feature-extraction"},
    NamedTask{Task::TextClassification, "text-classification"},
};

}  // namespace

std::string task_name(Task task) {
    for (const NamedTask& row : kTasks) {
        if (row.task == task) {
            return row.name;
        }
    }
    fail(ErrorKind::Internal, "unknown task");
}

Task choose_task(const std::string& wanted, const checkpoint::ModelConfig& config) {
    const bool vision = config.vision.has_value();
    if (wanted == "auto") {
        return vision ? Task::ImageTextToText : Task::TextGeneration;
    }
    std::string known = "auto";
    for (const NamedTask& row : kTasks) {
        if (wanted == row.name && row.task == Task::ImageTextToText && !vision) {
            fail(ErrorKind::Unsupported, "cannot export this model for '{}': its config.json has no vision_config",
                 wanted);
        }
        if (wanted == row.name) {
            return row.task;
        }
        known += fmt::format("{} {}", &row == &kTasks.back() ? " or" : ",", row.name);
    }
    if (wanted == "text-generation") {
        fail(ErrorKind::Unsupported,
             "cannot export for 'text-generation': models without states are not written; use "
             "'text-generation-with-past'");
    }
    fail(ErrorKind::Usage, "unknown task '{}', expected {}", wanted, known);
}

}  // namespace deltavino::models
