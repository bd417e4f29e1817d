// Chat templates that render in openvino_genai as they do in transformers.
//
// GenAI's engine (minja) lacks constructs of Jinja: it raises on `x is undefined`, for example. Where another
// spelling means the same in both engines, the template is written with that one; the others are named.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace deltavino::tokenizer {

struct PortableTemplate {
    std::string text;                    // equal to the input where nothing had to change
    std::vector<std::string> rewritten;  // what was spelled otherwise, each kind once
    std::vector<std::string> missing;    // constructs that GenAI's engine lacks, as in "filter 'first'", each once
};

// A text that is not well-formed Jinja comes back as it is.
PortableTemplate portable_chat_template(std::string_view text);

}  // namespace deltavino::tokenizer
