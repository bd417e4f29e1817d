// Which tasks a checkpoint can be exported for.
#pragma once

#include "checkpoint/config.hpp"

#include <string>
#include <vector>

namespace deltavino::models {

enum class Task {
    TextGeneration,
    ImageTextToText,
    FeatureExtraction,   // hidden states, of which consumers make embeddings
    TextClassification,  // scores of whole texts: classifiers and rerankers
};

// Whether the model makes tokens, and so has a head for them and keeps states.
inline bool generates(Task task) {
    return task == Task::TextGeneration || task == Task::ImageTextToText;
}

// The name that optimum-cli gives the task.
std::string task_name(Task task);

// Turns the user's --task into a task that `config` has; "auto" takes the richest. Throws
// ErrorKind::Usage for an unknown name, ErrorKind::Unsupported for one that the model does not have.
Task choose_task(const std::string& wanted, const checkpoint::ModelConfig& config);

}  // namespace deltavino::models
