// Source of truth: huggingface_hub, module `constants` and `get_token_to_send`.
#include "hub/settings.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

namespace deltavino::hub {
namespace {

namespace fs = std::filesystem;

class Reader {
public:
    explicit Reader(const Environment& environment) : environment_(environment) {}

    // The first of the variables that is set to anything.
    std::string text(std::initializer_list<const char*> names) const {
        for (const char* name : names) {
            const std::string value = environment_(name).value_or("");
            if (!value.empty()) {
                return value;
            }
        }
        return {};
    }

    bool flag(std::initializer_list<const char*> names) const {
        std::string value = text(names);
        std::transform(value.begin(), value.end(), value.begin(),
                       [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
    }

    long seconds(const char* name, long missing) const {
        const std::string value = text({name});
        long number = missing;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        if (!value.empty() && (error != std::errc() || end != value.data() + value.size() || number < 1)) {
            fail(ErrorKind::Usage, "cannot use {}='{}': expected a number of seconds", name, value);
        }
        return number;
    }

    fs::path path(std::initializer_list<const char*> names, const fs::path& missing) const {
        const std::string value = text(names);
        return value.empty() ? missing : fs::path(expand(value));
    }

    fs::path home() const {
        const std::string value = text({"HOME"});
        return value.empty() ? fs::path("/") : fs::path(value);
    }

private:
    // '~' at the start and $NAME or ${NAME} anywhere; what is not set stays as it is written.
    std::string expand(const std::string& value) const {
        std::string in = value;
        if (in == "~" || in.starts_with("~/")) {
            in = home().string() + in.substr(1);
        }
        std::string out;
        for (std::size_t i = 0; i < in.size();) {
            const bool braces = in.compare(i, 2, "${") == 0;
            const std::size_t begin = i + (braces ? 2 : 1);
            std::size_t end = begin;
            while (in[i] == '$' && end < in.size() &&
                   (std::isalnum(static_cast<unsigned char>(in[end])) != 0 || in[end] == '_')) {
                ++end;
            }
            const bool closed = !braces || (end < in.size() && in[end] == '}');
            if (in[i] != '$' || end == begin || !closed) {
                out += in[i++];
                continue;
            }
            const std::size_t next = end + (braces ? 1 : 0);
            out += environment_(in.substr(begin, end - begin).c_str()).value_or(in.substr(i, next - i));
            i = next;
        }
        return out;
    }

    const Environment& environment_;
};

std::string trimmed(const std::string& text) {
    const auto is_space = [](unsigned char c) {
        return std::isspace(c) != 0;
    };
    const auto begin = std::find_if_not(text.begin(), text.end(), is_space);
    const auto end = std::find_if_not(text.rbegin(), std::make_reverse_iterator(begin), is_space).base();
    return {begin, end};
}

std::string read_token(const Reader& reader, const fs::path& home) {
    if (reader.flag({"HF_HUB_DISABLE_IMPLICIT_TOKEN"})) {
        return {};
    }
    std::string from = "HF_TOKEN";
    std::string token = trimmed(reader.text({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}));
    const fs::path file = reader.path({"HF_TOKEN_PATH"}, home / "token");
    if (token.empty() && is_there(file)) {
        from = file.string();
        token = trimmed(read_text_file(file, 1u << 16));
    }
    // It becomes a line of a request.
    if (!std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; })) {
        fail(ErrorKind::Usage, "cannot use the token of {}: it holds a space or a character that is not ASCII", from);
    }
    return token;
}

}  // namespace

std::optional<std::string> process_environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Settings read_settings(const Environment& environment, const HubOptions& options) {
    const Reader reader(environment);
    Settings settings;
    const fs::path home =
        reader.path({"HF_HOME"}, reader.path({"XDG_CACHE_HOME"}, reader.home() / ".cache") / "huggingface");
    settings.cache = options.cache_dir.empty() ? reader.path({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}, home / "hub")
                                               : options.cache_dir;
    settings.endpoint = reader.text({"HF_ENDPOINT"});
    while (settings.endpoint.ends_with('/')) {
        settings.endpoint.pop_back();
    }
    if (settings.endpoint.empty()) {
        settings.endpoint = "https://huggingface.co";
    }
    if (!settings.endpoint.starts_with("https://") && !settings.endpoint.starts_with("http://")) {
        fail(ErrorKind::Usage, "cannot use HF_ENDPOINT='{}': expected an address such as https://huggingface.co",
             settings.endpoint);
    }
    settings.offline = reader.flag({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"});
    settings.symlinks = !reader.flag({"HF_HUB_DISABLE_SYMLINKS"});
    settings.ca_file = reader.text({"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"});
    settings.ca_directory = reader.text({"SSL_CERT_DIR"});
    settings.api_seconds = reader.seconds("HF_HUB_ETAG_TIMEOUT", settings.api_seconds);
    settings.stall_seconds = reader.seconds("HF_HUB_DOWNLOAD_TIMEOUT", settings.stall_seconds);
    if (!settings.offline) {
        settings.token = read_token(reader, home);
    }
    return settings;
}

}  // namespace deltavino::hub
