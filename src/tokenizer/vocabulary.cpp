// See vocabulary.hpp.
#include "tokenizer/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>

namespace deltavino::tokenizer {
namespace {

constexpr std::int64_t kMaxIds = std::numeric_limits<std::int32_t>::max();

// The byte behind every character of the byte alphabet: printable Latin-1 stands for itself, the other
// bytes are moved, in order, to the characters from U+0100 on.
constexpr std::size_t kAlphabetEnd = 0x144;
std::array<std::int16_t, kAlphabetEnd> make_alphabet() {
    std::array<std::int16_t, kAlphabetEnd> bytes{};
    bytes.fill(-1);
    std::size_t moved = 0x100;
    for (std::int16_t byte = 0; byte < 256; ++byte) {
        const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        bytes[printable ? static_cast<std::size_t>(byte) : moved++] = byte;
    }
    return bytes;
}

// What the tokens say about themselves does not matter here, only how they get their ids.
class AddedVocabulary {
public:
    AddedVocabulary(const std::unordered_map<std::string_view, std::int32_t>& base) : base_(base) {}

    // Gives ids as tokenizers does: a token of the model keeps its id, others get the next free one.
    void add(const std::vector<AddedToken>& tokens) {
        std::int64_t next = static_cast<std::int64_t>(base_.size());
        if (!by_id_.empty()) {
            next = std::max(next, by_id_.rbegin()->first + 1);
        }
        for (const AddedToken& token : tokens) {
            if (token.content.empty()) {
                continue;
            }
            const std::optional<std::int64_t> known = find(token.content);
            const std::int64_t id = known ? *known : next++;
            ids_[token.content] = id;
            by_id_[id] = token;
            by_id_[id].id = id;
        }
    }

    std::optional<std::int64_t> find(const std::string& content) const {
        if (const auto added = ids_.find(content); added != ids_.end()) {
            return added->second;
        }
        const auto base = base_.find(content);
        return base == base_.end() ? std::nullopt : std::optional<std::int64_t>(base->second);
    }

    bool contains(const std::string& content) const { return ids_.contains(content); }
    const std::map<std::int64_t, AddedToken>& tokens() const { return by_id_; }

private:
    const std::unordered_map<std::string_view, std::int32_t>& base_;
    std::map<std::string, std::int64_t> ids_;
    std::map<std::int64_t, AddedToken> by_id_;
};

class VocabularyMaker {
public:
    VocabularyMaker(const TokenizerFile& file, const TokenizerSettings& settings, Problems& input,
                    Problems& unsupported)
        : file_(file),
          settings_(settings),
          input_(input),
          unsupported_(unsupported),
          added_(ids_),
          named_(settings.named) {}

    TokenizerVocabulary run() {
        const std::size_t before = input_.size();
        index_vocab();
        if (input_.size() != before) {
            return std::move(result_);  // every other id would only be a guess
        }
        resolve_added_tokens();
        resolve_roles();
        resolve_merges();
        if (input_.empty()) {
            fill_bytes();
        }
        return std::move(result_);
    }

private:
    // Every id from 0 on exactly once.
    void index_vocab() {
        const std::size_t count = file_.vocab.size();
        ids_.reserve(count);
        std::vector<const std::string*> owners(count, nullptr);
        for (const auto& [token, id] : file_.vocab) {
            if (!ids_.emplace(token, static_cast<std::int32_t>(std::clamp<std::int64_t>(id, 0, kMaxIds))).second) {
                input_.add(fmt::format("/model/vocab: token '{}' stands twice", token));
            } else if (id < 0 || id >= static_cast<std::int64_t>(count)) {
                input_.add(fmt::format("/model/vocab: token '{}' has id {}, expected 0 to {} for {} tokens", token, id,
                                       count - 1, count));
            } else if (owners[static_cast<std::size_t>(id)] != nullptr) {
                input_.add(fmt::format("/model/vocab: id {} is given to both '{}' and '{}'", id,
                                       *owners[static_cast<std::size_t>(id)], token));
            } else {
                owners[static_cast<std::size_t>(id)] = &token;
            }
        }
        report_gaps(owners);
        if (count == 0) {
            input_.add("/model/vocab has no tokens");
        }
        result_.bytes.resize(count);
        base_tokens_ = std::move(owners);
    }

    void report_gaps(const std::vector<const std::string*>& owners) {
        constexpr std::size_t kShown = 5;
        std::size_t count = 0;
        std::string shown;
        for (std::size_t id = 0; id < owners.size(); ++id) {
            if (owners[id] == nullptr && ++count <= kShown) {
                shown += (shown.empty() ? "" : ", ") + std::to_string(id);
            }
        }
        if (count > kShown) {
            shown += fmt::format(" and {} more", count - kShown);
        }
        if (count > 0) {
            input_.add("/model/vocab: no token has id " + shown);
        }
    }

    void resolve_added_tokens() {
        check_ids_of_file();
        added_.add(file_.added_tokens);
        std::map<std::int64_t, AddedToken> listed = settings_.added;
        if (!settings_.added_is_complete) {
            for (const AddedToken& token : file_.added_tokens) {
                listed[token.id] = token;
            }
        }
        const bool has_pad = std::any_of(named_.begin(), named_.end(),
                                         [](const NamedToken& token) { return token.role == "pad_token"; });
        if (!file_.padding_token.empty() && !has_pad) {
            named_.push_back({"pad_token", {file_.padding_token, -1, true, false, false, false, false}});
        }
        std::set<std::string> named;
        for (const NamedToken& token : named_) {
            named.insert(token.token.content);
        }
        std::vector<AddedToken> more;
        std::set<std::string> known;
        for (const auto& [id, token] : listed) {
            more.push_back(token);
            more.back().special = token.special || named.contains(token.content);
            known.insert(token.content);
        }
        const auto add_missing = [&](const AddedToken& token) {
            if (!added_.contains(token.content) && known.insert(token.content).second) {
                more.push_back(token);
            }
        };
        for (const NamedToken& token : named_) {
            add_missing(token.token);
        }
        for (const AddedToken& token : settings_.extra) {
            add_missing(token);
        }
        added_.add(more);
        check_listed_ids();

        for (const auto& [id, token] : added_.tokens()) {
            if (token.single_word) {
                unsupported_.add(fmt::format(
                    "added token '{}': single_word, the BPETokenizer operator finds it inside words", token.content));
            }
            result_.added.push_back(token);
        }
    }

    void check_ids_of_file() {
        std::int64_t next = static_cast<std::int64_t>(ids_.size());
        std::map<std::int64_t, std::string> owners;
        for (const AddedToken& token : file_.added_tokens) {
            const auto base = ids_.find(token.content);
            const auto [owner, fresh] = owners.emplace(token.id, token.content);
            if (token.content.empty()) {
                input_.add(fmt::format("added token {} has no content", token.id));
            } else if (!fresh && owner->second != token.content) {
                input_.add(fmt::format("id {} is given to both added tokens '{}' and '{}'", token.id, owner->second,
                                       token.content));
            } else if (base != ids_.end()) {
                if (base->second != token.id) {
                    input_.add(fmt::format("added token '{}' has id {}, but /model/vocab says {}", token.content,
                                           token.id, base->second));
                }
            } else if (token.id < static_cast<std::int64_t>(base_tokens_.size())) {
                input_.add(fmt::format("added token '{}' has id {}, which /model/vocab gives to '{}'", token.content,
                                       token.id, *base_tokens_[static_cast<std::size_t>(token.id)]));
            } else if (fresh) {
                if (token.id != next) {
                    input_.add(fmt::format("added token '{}' has id {}, but the next free id is {}", token.content,
                                           token.id, next));
                }
                next = token.id + 1;
            }
        }
        if (next > kMaxIds) {
            input_.add(fmt::format("id {} is too large", next - 1));
        }
    }

    // A list that contradicts what loading gives means that the two files belong to different tokenizers.
    void check_listed_ids() {
        for (const auto& [id, token] : settings_.added) {
            const std::optional<std::int64_t> given = added_.find(token.content);
            if (given && *given != id) {
                input_.add(fmt::format(
                    "tokenizer_config.json gives added token '{}' id {}, but with tokenizer.json it gets {}",
                    token.content, id, *given));
            } else if (!given) {
                input_.add(fmt::format("tokenizer_config.json: added token {} has no content", id));
            }
        }
    }

    void resolve_roles() {
        const auto id_of = [&](const char* role) {
            const auto token =
                std::find_if(named_.begin(), named_.end(), [&](const NamedToken& t) { return t.role == role; });
            return token == named_.end() ? std::nullopt : added_.find(token->token.content);
        };
        const auto fallback =
            [&](const std::optional<TokenizerSettings::FallbackId>& id) -> std::optional<std::int64_t> {
            if (!id) {
                return std::nullopt;
            }
            const std::int64_t count = size();
            if (id->id >= count) {
                input_.add(fmt::format("{} is {}, but the tokenizer has {} tokens", id->where, id->id, count));
            }
            return id->id;
        };
        result_.bos_id = id_of("bos_token");
        result_.eos_id = id_of("eos_token");
        if (!result_.eos_id) {
            result_.eos_id = fallback(settings_.eos);
        }
        result_.pad_id = id_of("pad_token");
        if (!result_.pad_id) {
            result_.pad_id = fallback(settings_.pad);
        }
        if (!result_.pad_id) {
            result_.pad_id = result_.eos_id;
        }
    }

    std::int64_t size() const {
        const auto& added = added_.tokens();
        const auto base = static_cast<std::int64_t>(ids_.size());
        return added.empty() ? base : std::max(base, added.rbegin()->first + 1);
    }

    struct Merge {
        std::int32_t left;
        std::int32_t right;
        std::int32_t whole;
    };

    // Merges that can never happen are left out, so that what they would give is unreachable too.
    void resolve_merges() {
        std::vector<Merge> merges;
        merges.reserve(file_.merges.size());
        std::string whole;
        for (std::size_t i = 0; i < file_.merges.size(); ++i) {
            const auto& [left, right] = file_.merges[i];
            whole = left;
            whole += right;
            Merge merge{};
            bool complete = true;
            for (const auto& [text, id] :
                 {std::pair{&left, &merge.left}, {&right, &merge.right}, {&std::as_const(whole), &merge.whole}}) {
                const auto found = ids_.find(*text);
                if (found == ids_.end()) {
                    input_.add(fmt::format("/model/merges/{}: '{}' is not in /model/vocab", i, *text));
                    complete = false;
                } else {
                    *id = found->second;
                }
            }
            if (complete) {
                merges.push_back(merge);
            }
        }

        std::vector<bool> reachable(base_tokens_.size());
        for (std::size_t id = 0; id < base_tokens_.size(); ++id) {
            const std::optional<std::string> bytes = bytes_of_token(*base_tokens_[id]);
            reachable[id] = bytes && bytes->size() == 1;
        }
        const auto possible = [&](const Merge& merge) {
            return reachable[static_cast<std::size_t>(merge.left)] && reachable[static_cast<std::size_t>(merge.right)];
        };
        // What a merge gives is longer than its parts, so that one walk by length meets the parts first.
        std::vector<Merge> by_length = merges;
        std::sort(by_length.begin(), by_length.end(), [&](const Merge& a, const Merge& b) {
            return base_tokens_[static_cast<std::size_t>(a.whole)]->size() <
                   base_tokens_[static_cast<std::size_t>(b.whole)]->size();
        });
        for (const Merge& merge : by_length) {
            if (possible(merge)) {
                reachable[static_cast<std::size_t>(merge.whole)] = true;
            }
        }
        for (const Merge& merge : merges) {
            if (possible(merge)) {
                result_.merges.emplace_back(merge.left, merge.right);
            }
        }
        reachable.flip();
        result_.unreachable = std::move(reachable);
    }

    // A token with a character outside the byte alphabet stands for its own text.
    static std::string bytes_of(const std::string& token) { return bytes_of_token(token).value_or(token); }

    void fill_bytes() {
        const auto count = static_cast<std::size_t>(size());
        result_.bytes.resize(count);
        result_.unreachable.resize(count);
        for (std::size_t id = 0; id < base_tokens_.size(); ++id) {
            result_.bytes[id] = bytes_of(*base_tokens_[id]);
        }
        std::uint64_t total = 0;
        for (const AddedToken& token : result_.added) {
            result_.bytes[static_cast<std::size_t>(token.id)] = bytes_of(token.content);
            result_.unreachable[static_cast<std::size_t>(token.id)] = false;
        }
        for (const std::string& bytes : result_.bytes) {
            total += bytes.size() + 1;
        }
        if (total > static_cast<std::uint64_t>(kMaxIds)) {
            unsupported_.add(fmt::format("the tokens have {} bytes, more than the operators can index", total));
        }
    }

    const TokenizerFile& file_;
    const TokenizerSettings& settings_;
    Problems& input_;
    Problems& unsupported_;
    std::unordered_map<std::string_view, std::int32_t> ids_;
    std::vector<const std::string*> base_tokens_;  // by id
    AddedVocabulary added_;
    std::vector<NamedToken> named_;
    TokenizerVocabulary result_;
};

}  // namespace

std::optional<std::string> bytes_of_token(std::string_view token) {
    static const std::array<std::int16_t, kAlphabetEnd> alphabet = make_alphabet();
    std::string bytes;
    for (std::size_t i = 0; i < token.size(); ++i) {
        // The alphabet ends before U+0800, so that its characters have one or two bytes.
        std::size_t character = static_cast<unsigned char>(token[i]);
        if (character >= 0x80) {
            if ((character & 0xE0) != 0xC0 || i + 1 >= token.size()) {
                return std::nullopt;
            }
            character = (character & 0x1F) << 6 | (static_cast<unsigned char>(token[++i]) & 0x3F);
        }
        if (character >= kAlphabetEnd || alphabet[character] < 0) {
            return std::nullopt;
        }
        bytes += static_cast<char>(alphabet[character]);
    }
    return bytes;
}

std::vector<std::string> check_embedding(const TokenizerFile& file, const TokenizerSettings& settings,
                                         const TokenizerVocabulary& vocabulary, std::uint64_t rows, Problems& input) {
    if (file.vocab.size() > rows) {
        input.add(fmt::format("/model/vocab has {} tokens, but the embedding has {} rows (vocab_size of config.json)",
                              file.vocab.size(), rows));
        return {};
    }
    const auto beyond = [&](std::int64_t id) {
        return static_cast<std::uint64_t>(id) >= rows;
    };
    for (const auto& [role, id] : {std::pair{"bos_token", vocabulary.bos_id},
                                   {"eos_token", vocabulary.eos_id},
                                   {"pad_token", vocabulary.pad_id}}) {
        if (id && beyond(*id)) {
            input.add(fmt::format("{} has id {}, but the embedding has {} rows", role, *id, rows));
        }
    }
    for (const TemplateElement& element : file.post_processor) {
        if (element.id && beyond(*element.id)) {
            input.add(fmt::format("/post_processor adds id {}, but the embedding has {} rows", *element.id, rows));
        }
    }
    std::size_t count = 0;
    const AddedToken* first = nullptr;
    for (const AddedToken& token : vocabulary.added) {
        if (!beyond(token.id)) {
            continue;
        }
        if (settings.chat_template.find(token.content) != std::string::npos) {
            input.add(fmt::format("the chat template writes '{}', which has id {}, but the embedding has {} rows",
                                  token.content, token.id, rows));
        }
        first = first == nullptr ? &token : first;
        count += 1;
    }
    if (count == 0) {
        return {};
    }
    return {
        fmt::format("the embedding has {} rows: {} added tokens have ids beyond it, from '{}' ({}) on; a text that "
                    "holds one cannot be read (were they added without resizing the model?)",
                    rows, count, first->content, first->id)};
}

TokenizerVocabulary make_tokenizer_vocabulary(const TokenizerFile& file, const TokenizerSettings& settings,
                                              Problems& input, Problems& unsupported) {
    return VocabularyMaker(file, settings, input, unsupported).run();
}

}  // namespace deltavino::tokenizer
