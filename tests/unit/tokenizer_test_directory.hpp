// A small checkpoint directory for the tokenizer tests, changed by each test.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "support/golden.hpp"

#include <filesystem>
#include <map>
#include <string>

namespace deltavino::test {

// tokenizer.json of seven tokens and two added ones, in parts that a test may replace.
struct TokenizerParts {
    std::string vocab = R"({"a":0,"b":1,"ab":2,"Ġ":3,"Ġa":4,"Ġab":5,"é":6})";
    std::string merges = R"([["a","b"],["Ġ","a"],["Ġ","ab"]])";
    std::string model_options =
        R"("dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false)";
    std::string added =
        R"([{"id":7,"content":"<end>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
                           {"id":8,"content":"<t>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false}])";
    std::string normalizer = R"({"type":"NFC"})";
    std::string pre_tokenizer = R"({"type":"Sequence","pretokenizers":[
        {"type":"Split","pattern":{"Regex":"\\s*a+"},"behavior":"Isolated","invert":false},
        {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]})";
    std::string post_processor =
        R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false})";
    std::string decoder = R"({"type":"ByteLevel"})";
    std::string padding = "null";

    std::string json() const {
        return R"({"version":"1.0","truncation":null,"padding":)" + padding + R"(,"added_tokens":)" + added +
               R"(,"normalizer":)" + normalizer + R"(,"pre_tokenizer":)" + pre_tokenizer + R"(,"post_processor":)" +
               post_processor + R"(,"decoder":)" + decoder + R"(,"model":{"type":"BPE",)" + model_options +
               R"(,"vocab":)" + vocab + R"(,"merges":)" + merges + "}}";
    }
};

class TokenizerDirectory {
public:
    explicit TokenizerDirectory(const TokenizerParts& parts = {})
        : TokenizerDirectory(std::map<std::string, std::string>{{"tokenizer.json", parts.json()}}) {}
    explicit TokenizerDirectory(const std::map<std::string, std::string>& files) {
        for (const auto& [name, text] : files) {
            write(name, text);
        }
    }

    const std::filesystem::path& path() const { return directory_.path(); }
    void write(const std::string& name, const std::string& text) const { write_text_file(path() / name, text); }

private:
    TemporaryDirectory directory_;
};

// What a user would read; "no problem" when there is none.
inline std::string text_of(const Problems& problems) {
    try {
        problems.throw_if_any(ErrorKind::Input, "x");
    } catch (const Error& error) {
        return error.what();
    }
    return "no problem";
}

}  // namespace deltavino::test
