#include "models/registry.hpp"

#include "base/error.hpp"

namespace deltavino::models {

std::string task_name(Task task) {
    return task == Task::TextGeneration ? "text-generation-with-past" : "image-text-to-text";
}

Task choose_task(const std::string& wanted, const checkpoint::ModelConfig& config) {
    const bool vision = config.vision.has_value();
    if (wanted == "auto") {
        return vision ? Task::ImageTextToText : Task::TextGeneration;
    }
    if (wanted == task_name(Task::TextGeneration)) {
        return Task::TextGeneration;
    }
    if (wanted == task_name(Task::ImageTextToText)) {
        if (!vision) {
            fail(ErrorKind::Unsupported, "cannot export this model for '{}': its config.json has no vision_config",
                 wanted);
        }
        return Task::ImageTextToText;
    }
    if (wanted == "text-generation") {
        fail(ErrorKind::Unsupported,
             "cannot export for 'text-generation': models without states are not written; use "
             "'text-generation-with-past'");
    }
    fail(ErrorKind::Usage, "unknown task '{}', expected auto, {} or {}", wanted, task_name(Task::TextGeneration),
         task_name(Task::ImageTextToText));
}

}  // namespace deltavino::models
