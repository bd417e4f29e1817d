// Runs the tokenizer and detokenizer IR (ir_contract: openvino_tokenizers' operations). The graphs are
// taken as they are: byte-level vocabularies, whose text is the concatenation of the tokens' texts.
#include "runtime/chat/tokenizer.hpp"

#include "base/error.hpp"
#include "base/library_path.hpp"
#include "graph/names.hpp"
#include "runtime/openvino_call.hpp"

#include <openvino/core/version.hpp>
#include <openvino/runtime/properties.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

constexpr const char* kLibraryVariable = "OPENVINO_TOKENIZERS_PATH_GENAI";
constexpr const char* kLibraryName = "libopenvino_tokenizers.so";
constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// "2026.4.1" of "2026.4.1-22982-..."
std::string release() {
    const std::string build = ov::get_openvino_version().buildNumber;
    return build.substr(0, build.find('-'));
}

fs::path find_library() {
    const auto address = reinterpret_cast<const void*>(&ov::get_openvino_version);
    const std::vector<fs::path> candidates =
        tokenizer_library_candidates(std::getenv(kLibraryVariable), library_of(address));
    std::string tried;
    std::error_code error;
    for (const fs::path& candidate : candidates) {
        if (fs::is_regular_file(candidate, error)) {
            return candidate;
        }
        tried += fmt::format("\n  - {}", candidate.string());
    }
    fail(ErrorKind::Unsupported,
         "cannot find the tokenizers extension of OpenVINO; `pip install openvino-tokenizers=={}` beside openvino, or "
         "set {} to the path of {}; tried:{}",
         release(), kLibraryVariable, kLibraryName, tried);
}

ov::InferRequest load(ov::Core& core, const fs::path& directory, const char* model_name,
                      const std::function<void(const ov::Model&)>& look) {
    const fs::path xml = directory / (std::string(model_name) + ".xml");
    std::error_code error;
    if (!fs::exists(xml, error)) {
        fail(ErrorKind::Input,
             "cannot use '{}': '{}' is missing; the export writes it unless --disable-convert-tokenizer is given",
             directory.string(), xml.filename().string());
    }
    return openvino_call(ErrorKind::Input, fmt::format("load '{}'", xml.string()), [&]() {
        const std::shared_ptr<ov::Model> model = core.read_model(xml);
        look(*model);
        return core.compile_model(model, "CPU")
            .create_infer_request();  // text is handled on the host whatever the model's device
    });
}

}  // namespace

std::vector<fs::path> tokenizer_library_candidates(const char* variable, const fs::path& openvino_library) {
    if (variable != nullptr && *variable != '\0') {
        return {fs::path(variable)};
    }
    std::vector<fs::path> candidates;
    if (!openvino_library.empty()) {
        const fs::path folder = openvino_library.parent_path();
        // In a Python environment: openvino/libs/libopenvino.so and openvino_tokenizers/lib/.
        candidates.push_back((folder / ".." / ".." / "openvino_tokenizers" / "lib" / kLibraryName).lexically_normal());
        candidates.push_back(folder / kLibraryName);  // in an archive of OpenVINO
    }
    return candidates;
}

Tokenizer::Tokenizer(ov::Core& core, const fs::path& directory) {
    const fs::path library = find_library();
    openvino_call(
        ErrorKind::Unsupported,
        fmt::format("load the tokenizers extension '{}' (it must be of OpenVINO {})", library.string(), release()),
        [&]() { core.add_extension(library); });
    encoder_ = load(core, directory, names::kTokenizer, [this](const ov::Model& model) {
        if (model.has_rt_info("eos_token_id")) {
            eos_id_ = model.get_rt_info<std::int64_t>("eos_token_id");
        }
        if (model.has_rt_info("chat_template")) {
            chat_template_ = model.get_rt_info<std::string>("chat_template");
        }
    });
    decoder_ = load(core, directory, names::kDetokenizer, [](const ov::Model&) {});
}

std::vector<std::int64_t> Tokenizer::encode(const std::string& text) {
    if (!is_utf8(text)) {
        fail(ErrorKind::Usage, "the text is not UTF-8");
    }
    if (text.empty()) {
        return {};
    }
    return openvino_call(ErrorKind::Input, "turn the text into tokens", [&]() {
        ov::Tensor input(ov::element::string, {1});
        *input.data<std::string>() = text;
        encoder_.set_input_tensor(input);
        encoder_.infer();
        const ov::Tensor ids = encoder_.get_tensor(names::kInputIds);
        const auto* begin = ids.data<const std::int64_t>();
        return std::vector<std::int64_t>(begin, begin + ids.get_size());
    });
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids) {
    if (ids.empty()) {
        return {};
    }
    return openvino_call(ErrorKind::Input, "turn tokens into text", [&]() {
        ov::Tensor input(ov::element::i64, {1, ids.size()});
        std::memcpy(input.data(), ids.data(), ids.size_bytes());
        decoder_.set_input_tensor(input);
        decoder_.infer();
        return decoder_.get_output_tensor().data<std::string>()[0];
    });
}

std::int64_t Tokenizer::single_id(const std::string& token) {
    const std::vector<std::int64_t> ids = encode(token);
    if (ids.size() != 1) {
        fail(ErrorKind::Input, "the tokenizer splits '{}' into {} tokens, expected 1", token, ids.size());
    }
    return ids.front();
}

std::string TextStream::push(std::int64_t id) {
    pending_.push_back(id);
    const std::string text = decode_(pending_);
    // An unfinished character shows as replacements at the end: at most three, one for each of its bytes.
    std::size_t certain = text.size();
    for (int i = 0; i < 3 && certain >= kReplacement.size() &&
                    text.compare(certain - kReplacement.size(), kReplacement.size(), kReplacement) == 0;
         ++i) {
        certain -= kReplacement.size();
    }
    std::string piece;
    if (certain > given_) {
        piece = text.substr(given_, certain - given_);
        given_ = certain;
    }
    if (certain == text.size()) {
        pending_.clear();
        given_ = 0;
    }
    return piece;
}

std::string TextStream::finish() {
    const std::string text = decode_(pending_);
    std::string piece = text.size() > given_ ? text.substr(given_) : std::string();
    pending_.clear();
    given_ = 0;
    return piece;
}

}  // namespace deltavino::runtime
