// Runs the tokenizer and detokenizer IR (ir_contract: openvino_tokenizers' operations). The graphs are
// taken as they are: byte-level vocabularies, whose text is the concatenation of the tokens' texts.
#include "runtime/chat/tokenizer.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/library_path.hpp"
#include "base/unicode.hpp"
#include "graph/names.hpp"
#include "graph/read_ir.hpp"
#include "runtime/openvino_call.hpp"

#include <openvino/core/version.hpp>
#include <openvino/runtime/properties.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

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

std::shared_ptr<ov::Model> read(ov::Core& core, const fs::path& directory, const char* model_name) {
    const fs::path xml = directory / (std::string(model_name) + ".xml");
    if (!is_there(xml)) {
        fail(ErrorKind::Input,
             "cannot use '{}': '{}' is missing; the export writes it unless --disable-convert-tokenizer is given",
             directory.string(), xml.filename().string());
    }
    return openvino_call(ErrorKind::Input, fmt::format("load '{}'", xml.string()),
                         [&]() { return graph::read_ir(core, xml); });
}

// Text is handled on the host whatever the model's device.
ov::InferRequest compile_on_host(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* model_name) {
    return openvino_call(ErrorKind::Input, fmt::format("prepare '{}'", model_name),
                         [&]() { return core.compile_model(model, "CPU").create_infer_request(); });
}

// A part [begin, end) of `size` things. A graph may compute any numbers.
struct Part {
    std::size_t begin = 0;
    std::size_t end = 0;
};
Part range_at(const ov::Tensor& begins, const ov::Tensor& ends, std::size_t i, std::size_t size) {
    const auto at = [&](const ov::Tensor& numbers) {
        return i < numbers.get_size() ? std::int64_t{numbers.data<const std::int32_t>()[i]} : -1;
    };
    const std::int64_t begin = at(begins);
    const std::int64_t end = at(ends);
    if (begin < 0 || end < begin || end > static_cast<std::int64_t>(size)) {
        fail(ErrorKind::Input, "cannot use the tokenizer: it gives part {} from {} to {} of {}", i, begin, end, size);
    }
    return {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
}

ov::Tensor texts_tensor(const std::vector<std::string>& texts) {
    ov::Tensor tensor(ov::element::string, {texts.size()});
    std::copy(texts.begin(), texts.end(), tensor.data<std::string>());
    return tensor;
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
    const std::shared_ptr<ov::Model> model = read(core, directory, names::kTokenizer);
    openvino_call(ErrorKind::Input, fmt::format("prepare '{}'", names::kTokenizer), [&]() {
        if (model->has_rt_info("eos_token_id")) {
            eos_id_ = model->get_rt_info<std::int64_t>("eos_token_id");
        }
        if (model->has_rt_info("chat_template")) {
            chat_template_ = model->get_rt_info<std::string>("chat_template");
        }
        graph_ = take_apart(model);
    });
    encoder_ = compile_on_host(core, std::exchange(graph_.plain, nullptr), names::kTokenizer);
    if (graph_.splitter != nullptr) {
        splitter_ = compile_on_host(core, std::exchange(graph_.splitter, nullptr), names::kTokenizer);
    }
    const std::shared_ptr<ov::Model> detokenizer = read(core, directory, names::kDetokenizer);
    special_ = special_ids(*detokenizer);
    decoder_ = compile_on_host(core, detokenizer, names::kDetokenizer);
}

void Tokenizer::split(const TextSegment& segment, std::vector<Piece>& pieces) {
    if (!splitter_) {
        pieces.push_back({std::nullopt, segment.text});
        return;
    }
    openvino_call(ErrorKind::Input, "find added tokens", [&]() {
        splitter_.set_input_tensor(texts_tensor({segment.text}));
        splitter_.infer();
        const ov::Tensor begins = splitter_.get_output_tensor(2);
        const ov::Tensor ends = splitter_.get_output_tensor(3);
        const ov::Tensor bytes = splitter_.get_output_tensor(4);
        const ov::Tensor flags = splitter_.get_output_tensor(5);
        const std::string_view text(reinterpret_cast<const char*>(bytes.data<const std::uint8_t>()), bytes.get_size());
        std::size_t at = 0;
        for (std::size_t i = 0; i < flags.get_size(); ++i) {
            const auto [begin, end] = range_at(begins, ends, i, text.size());
            const std::string piece(text.substr(begin, end - begin));
            const auto token = flags.data<const bool>()[i] ? graph_.added.find(piece) : graph_.added.end();
            if (token == graph_.added.end()) {
                pieces.push_back({std::nullopt, piece});
            } else if (segment.is_control || !(special_.empty() || special_.contains(token->second))) {
                pieces.push_back({token->second, {}});
            } else {
                // With the white space that such a token takes: the pieces leave it out.
                const bool last = i + 1 == flags.get_size();
                const std::size_t next = last ? text.size() : range_at(begins, ends, i + 1, text.size()).begin;
                pieces.push_back(
                    {std::nullopt, std::string(text.substr(std::min(at, next), next - std::min(at, next)))});
                at = next;
                continue;
            }
            at = end;
        }
    });
}

std::vector<std::vector<std::int64_t>> Tokenizer::encode_plain(const std::vector<std::string>& texts) {
    if (texts.empty()) {
        return {};
    }
    return openvino_call(ErrorKind::Input, "turn the text into tokens", [&]() {
        encoder_.set_input_tensor(texts_tensor(texts));
        encoder_.infer();
        const ov::Tensor begins = encoder_.get_output_tensor(0);
        const ov::Tensor ends = encoder_.get_output_tensor(1);
        const ov::Tensor ids = encoder_.get_output_tensor(2);
        const auto* first = ids.data<const std::int32_t>();
        std::vector<std::vector<std::int64_t>> result;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const auto [begin, end] = range_at(begins, ends, i, ids.get_size());
            result.emplace_back(first + begin, first + end);
        }
        return result;
    });
}

std::vector<std::int64_t> Tokenizer::encode(const std::string& text) {
    const TextSegment segment{text, true};
    return encode(std::span(&segment, 1));
}

std::vector<std::int64_t> Tokenizer::encode(std::span<const TextSegment> segments) {
    std::vector<Piece> pieces;
    for (const TextSegment& segment : segments) {
        if (!is_utf8(segment.text)) {
            fail(ErrorKind::Usage, "the text is not UTF-8");
        }
        split(segment, pieces);
    }
    // Text that no id separates is one text: merges reach across the segments.
    std::vector<std::string> texts;
    std::vector<std::optional<std::int64_t>> order;  // an id, or nothing for the next text
    for (const Piece& piece : pieces) {
        if (piece.id) {
            order.push_back(piece.id);
        } else if (!piece.text.empty()) {
            if (order.empty() || order.back()) {
                order.emplace_back();
                texts.emplace_back();
            }
            texts.back() += piece.text;
        }
    }
    if (order.empty()) {
        return {};
    }
    for (std::string& text : texts) {
        text = normalized(text, graph_.normalization);
    }
    const std::vector<std::vector<std::int64_t>> encoded = encode_plain(texts);
    std::vector<std::int64_t> ids = graph_.before;
    auto text = encoded.begin();
    for (const std::optional<std::int64_t>& id : order) {
        if (id) {
            ids.push_back(*id);
        } else {
            ids.insert(ids.end(), text->begin(), text->end());
            ++text;
        }
    }
    ids.insert(ids.end(), graph_.after.begin(), graph_.after.end());
    require_embeddings(ids);
    return ids;
}

void Tokenizer::require_embeddings(std::span<const std::int64_t> ids) const {
    const auto wrong = std::find_if(ids.begin(), ids.end(), [&](std::int64_t id) { return id >= id_limit_; });
    if (wrong == ids.end()) {
        return;
    }
    const auto token = std::find_if(graph_.added.begin(), graph_.added.end(),
                                    [&](const auto& entry) { return entry.second == *wrong; });
    fail(ErrorKind::Usage, "the text holds token {}{}, but the model has embeddings for {} tokens", *wrong,
         token == graph_.added.end() ? std::string() : fmt::format(" ('{}')", token->first), id_limit_);
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
        const ov::Tensor texts = decoder_.get_output_tensor();
        if (texts.get_size() != 1) {
            fail(ErrorKind::Input, "cannot use the detokenizer: it gives {} texts for one", texts.get_size());
        }
        return texts.data<std::string>()[0];
    });
}

std::int64_t Tokenizer::single_id(const std::string& token) {
    if (const auto added = graph_.added.find(token); added != graph_.added.end()) {
        return added->second;
    }
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
