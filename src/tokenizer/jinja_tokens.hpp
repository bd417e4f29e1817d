// The delimiters and tokens of a Jinja template, as far as rewriting single tokens needs them.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace deltavino::tokenizer {

struct JinjaToken {
    enum class Kind { Name, Number, String, Symbol };
    Kind kind = Kind::Symbol;
    std::size_t begin = 0;  // in the template
    std::size_t end = 0;
};

// One {{ expression }} or {% statement %}; comments and raw blocks give none.
struct JinjaTag {
    bool statement = false;
    std::size_t begin = 0;  // of its delimiter
    std::size_t end = 0;    // after its closing delimiter
    std::vector<JinjaToken> tokens;
};

struct JinjaTemplate {
    std::vector<JinjaTag> tags;
    bool has_raw_block = false;
    bool well_formed = true;  // false: something is not closed; `tags` ends before it
};

JinjaTemplate scan_jinja(std::string_view text);

}  // namespace deltavino::tokenizer
