#include "base/unicode.hpp"

#include "base/error.hpp"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

namespace deltavino {
namespace {

void append_normalized(std::string& result, std::string_view text, int options) {
    utf8proc_uint8_t* out = nullptr;
    const utf8proc_ssize_t size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                     &out, static_cast<utf8proc_option_t>(options));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, &std::free);
    if (size < 0) {
        fail(ErrorKind::Input, "cannot normalize the text: {}", utf8proc_errmsg(size));
    }
    result.append(reinterpret_cast<const char*>(out), static_cast<std::size_t>(size));
}

}  // namespace

std::string normalized(std::string_view text, std::string_view form) {
    int options = UTF8PROC_STABLE;
    if (form == "nfc" || form == "nfkc") {
        options |= UTF8PROC_COMPOSE;
    } else if (form == "nfd" || form == "nfkd") {
        options |= UTF8PROC_DECOMPOSE;
    } else {
        return std::string(text);
    }
    options |= form == "nfkc" || form == "nfkd" ? UTF8PROC_COMPAT : 0;
    // utf8proc before 2.10 loses U+11A7 after a Korean syllable. It composes with nothing: cut there.
    constexpr std::string_view kTrailingBase = "\xe1\x86\xa7";
    std::string result;
    for (std::size_t cut = text.find(kTrailingBase); cut != std::string_view::npos; cut = text.find(kTrailingBase)) {
        append_normalized(result, text.substr(0, cut), options);
        result += kTrailingBase;
        text.remove_prefix(cut + kTrailingBase.size());
    }
    append_normalized(result, text, options);
    return result;
}

int combining_class(char32_t character) {
    return utf8proc_get_property(static_cast<utf8proc_int32_t>(character))->combining_class;
}

bool decomposes(char32_t character) {
    constexpr auto kNone = static_cast<utf8proc_uint16_t>(-1);
    return utf8proc_get_property(static_cast<utf8proc_int32_t>(character))->decomp_seqindex != kNone;
}

std::string utf8(char32_t character) {
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
    return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

}  // namespace deltavino
