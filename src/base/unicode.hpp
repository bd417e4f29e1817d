// Unicode normalization, by utf8proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace deltavino {

// `text`, which must be UTF-8, in the form "nfc", "nfd", "nfkc" or "nfkd"; unchanged for any other.
std::string normalized(std::string_view text, std::string_view form);

// The canonical combining class; 0 for a character that starts something new.
int combining_class(char32_t character);

// Whether a character has a decomposition, canonical or not.
bool decomposes(char32_t character);

std::string utf8(char32_t character);

}  // namespace deltavino
