// Regular expressions that repair the normalization operator.
//
// CharsMapNormalization replaces the longest known sequence from left to right: it does not put marks into canonical
// order, nor compose past a mark. In between of a decomposing and a composing one these do both.
#pragma once

#include <string>

namespace deltavino::tokenizer {

// A PCRE2 pattern and its replacement, for a decomposed text.
struct Rewriting {
    std::string pattern;
    std::string replacement;
};

// Moves the marks of the lowest combining class of a run before the others. Applied n times it puts any run with up
// to n + 1 classes into canonical order.
Rewriting reorder_marks();

// Moves a mark that composes with the character before it next to that, past marks that do not. Once for each mark.
Rewriting gather_composing_marks();

}  // namespace deltavino::tokenizer
