// Redirects are followed here and not by libcurl, whose rule for which host may see the token has changed
// between its versions.
#include "hub/http.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <deltavino/version.hpp>

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <thread>

namespace deltavino::hub {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMaxRedirects = 10;
constexpr std::size_t kMaxHeaderBytes = 1u << 20;
constexpr std::uint64_t kMaxDiscardedBytes = 1u << 20;
constexpr seconds kLongestWait{300};  // the Hub counts requests in windows of five minutes

void initialize_curl() {
    static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK) {
        fail(ErrorKind::Internal, "cannot start libcurl: {}", curl_easy_strerror(code));
    }
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

// Scheme, host and port: who a token may be sent to.
struct Origin {
    std::string scheme, host, port;
    bool operator==(const Origin&) const = default;
};

std::string url_part(CURLU* url, CURLUPart part) {
    char* text = nullptr;
    if (curl_url_get(url, part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) != CURLUE_OK) {
        return {};
    }
    std::string copy = text;
    curl_free(text);
    return copy;
}

Origin origin_of(const std::string& url) {
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), &curl_url_cleanup);
    if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
        throw Failure{.reason = fmt::format("'{}' is not an address", url)};
    }
    return {lower(url_part(parsed.get(), CURLUPART_SCHEME)), lower(url_part(parsed.get(), CURLUPART_HOST)),
            url_part(parsed.get(), CURLUPART_PORT)};
}

// What the callbacks of one request share.
struct Exchange {
    CURL* curl = nullptr;
    const Monitor* monitor = nullptr;
    BodySink* sink = nullptr;
    Response response = {};
    std::size_t header_bytes = 0;
    std::uint64_t discarded = 0;
    bool begun = false;
    bool stopped = false;
    std::exception_ptr error = {};  // of the sink: exceptions must not pass through libcurl

    bool wanted() const { return response.status == 200 || response.status == 206; }
};

// "HTTP/1.1 206 Partial Content" or "Name: value".
void take_header(Exchange& exchange, std::string_view line) {
    while (!line.empty() && static_cast<unsigned char>(line.back()) <= 0x20) {
        line.remove_suffix(1);
    }
    if (line.starts_with("HTTP/")) {  // also after an informational response
        exchange.response = {};
        const std::size_t space = line.find(' ');
        if (space != std::string_view::npos) {
            const std::string_view code = line.substr(space + 1, 3);
            std::from_chars(code.data(), code.data() + code.size(), exchange.response.status);
        }
        return;
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
        return;
    }
    std::size_t begin = colon + 1;
    while (begin < line.size() && (line[begin] == ' ' || line[begin] == '\t')) {
        ++begin;
    }
    exchange.response.headers[lower(std::string(line.substr(0, colon)))] = line.substr(begin);
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) {
    auto& exchange = *static_cast<Exchange*>(user);
    exchange.header_bytes += size;
    if (exchange.header_bytes > kMaxHeaderBytes) {
        return 0;
    }
    try {
        take_header(exchange, {data, size});
        return size;
    } catch (...) {
        exchange.error = std::current_exception();
        return 0;
    }
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
    auto& exchange = *static_cast<Exchange*>(user);
    if (!exchange.wanted()) {
        exchange.discarded += size;
        return exchange.discarded > kMaxDiscardedBytes ? 0 : size;
    }
    try {
        if (!exchange.begun) {
            exchange.begun = true;
            exchange.sink->begin(exchange.response);
        }
        exchange.sink->write(std::as_bytes(std::span(data, size)));
        return size;
    } catch (...) {
        exchange.error = std::current_exception();
        return 0;
    }
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& exchange = *static_cast<Exchange*>(user);
    try {
        exchange.stopped = exchange.monitor->stopped();
    } catch (...) {
        exchange.error = std::current_exception();
        return 1;
    }
    return exchange.stopped ? 1 : 0;
}

bool is_redirect(long status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_unreachable(CURLcode code) {
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT;
}

// Errors that come and go with the line.
bool is_transient(CURLcode code) {
    constexpr CURLcode kCodes[] = {
        CURLE_OPERATION_TIMEDOUT, CURLE_PARTIAL_FILE, CURLE_RECV_ERROR,   CURLE_SEND_ERROR,        CURLE_GOT_NOTHING,
        CURLE_SSL_CONNECT_ERROR,  CURLE_HTTP2,        CURLE_HTTP2_STREAM, CURLE_WEIRD_SERVER_REPLY};
    return is_unreachable(code) || std::find(std::begin(kCodes), std::end(kCodes), code) != std::end(kCodes);
}

// What helps; one clause, empty when nothing is known.
std::string hint_of(CURLcode code) {
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_CONNECT:
            return "; is there a network, and are HF_ENDPOINT and the proxy variables right? "
                   "HF_HUB_OFFLINE=1 uses the cache alone";
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE: return "; SSL_CERT_FILE names a file of further certificates to trust";
        default: return "";
    }
}

Failure failure_of_code(CURLcode code, const std::string& detail, const std::string& url) {
    const Origin origin = origin_of(url);
    const std::string text = one_line(detail.empty() ? curl_easy_strerror(code) : detail);
    return {.reason = fmt::format("{} ({}){}", text, origin.host, hint_of(code)),
            .transient = is_transient(code),
            .unreachable = is_unreachable(code)};
}

Failure failure_of_status(const Response& response, const std::string& url) {
    const long status = response.status;
    const auto message = response.headers.find("x-error-message");
    std::string said = message == response.headers.end() ? "" : one_line(message->second.substr(0, 200));
    std::erase_if(said, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    const auto code = response.headers.find("x-error-code");
    return {.reason = fmt::format("{} answers {}{}", origin_of(url).host, status, said.empty() ? "" : ": " + said),
            .transient = status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504),
            .status = status,
            .code = code == response.headers.end() ? "" : code->second,
            .wait = asked_wait(response)};
}

}  // namespace

struct Connection::State {
    Settings settings;
    Monitor monitor;
    Origin endpoint;
    CURL* curl = nullptr;

    State(const Settings& from, Monitor to) : settings(from), monitor(std::move(to)) {
        initialize_curl();
        try {
            endpoint = origin_of(settings.endpoint);
        } catch (const Failure& failure) {
            fail(ErrorKind::Usage, "cannot use HF_ENDPOINT: {}", failure.reason);
        }
        curl = curl_easy_init();
        if (curl == nullptr) {
            fail(ErrorKind::Internal, "cannot start libcurl");
        }
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { curl_easy_cleanup(curl); }

    void prepare(Exchange& exchange, const std::string& url, long stall) const;
    CURLcode request(Exchange& exchange, const std::string& url, std::uint64_t offset, long stall, std::string& detail);
};

Connection::Connection(const Settings& settings, Monitor monitor)
    : state_(std::make_unique<State>(settings, std::move(monitor))) {}

Connection::~Connection() = default;

// Options of every request; the connection itself survives the reset.
void Connection::State::prepare(Exchange& exchange, const std::string& url, long stall) const {
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 512L * 1024L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, settings.api_seconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, stall);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, fmt::format("deltavino/{}", version()).c_str());
    if (!settings.ca_file.empty()) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, settings.ca_file.c_str());
    }
    if (!settings.ca_directory.empty()) {
        curl_easy_setopt(curl, CURLOPT_CAPATH, settings.ca_directory.c_str());
    }
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
}

CURLcode Connection::State::request(Exchange& exchange, const std::string& url, std::uint64_t offset, long stall,
                                    std::string& detail) {
    prepare(exchange, url, stall);
    char message[CURL_ERROR_SIZE] = {};
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    const std::string range = fmt::format("{}-", offset);
    if (offset > 0) {
        curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
    }
    curl_slist* headers = nullptr;
    if (!settings.token.empty() && origin_of(url) == endpoint) {
        headers = curl_slist_append(nullptr, fmt::format("Authorization: Bearer {}", settings.token).c_str());
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    }
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, nullptr);
    curl_slist_free_all(headers);
    detail = message;
    return code;
}

Response Connection::get(const std::string& url, std::uint64_t offset, long stall, BodySink& sink) {
    std::string address = url;
    for (int hop = 0; hop <= kMaxRedirects; ++hop) {
        Exchange exchange{.curl = state_->curl, .monitor = &state_->monitor, .sink = &sink};
        std::string detail;
        const CURLcode code = state_->request(exchange, address, offset, stall, detail);
        if (exchange.error) {
            std::rethrow_exception(exchange.error);
        }
        if (exchange.stopped) {
            fail(ErrorKind::Cancelled, "stopped");
        }
        const long status = exchange.response.status;
        if (is_redirect(status)) {
            char* target = nullptr;  // absolute, whatever the Location header holds
            curl_easy_getinfo(state_->curl, CURLINFO_REDIRECT_URL, &target);
            if (target == nullptr) {
                throw Failure{.reason = fmt::format("{} redirects to nowhere", origin_of(address).host)};
            }
            const std::string next = target;
            if (origin_of(address).scheme == "https" && origin_of(next).scheme != "https") {
                throw Failure{.reason = fmt::format("{} redirects from https to '{}', which is not encrypted",
                                                    origin_of(address).host, next)};
            }
            address = next;
            continue;
        }
        if (status != 0 && !exchange.wanted()) {
            throw failure_of_status(exchange.response, address);
        }
        if (code != CURLE_OK) {
            throw failure_of_code(code, detail, address);
        }
        if (!exchange.begun) {
            sink.begin(exchange.response);
        }
        return exchange.response;
    }
    throw Failure{.reason = fmt::format("more than {} redirects", kMaxRedirects)};
}

void TextSink::write(std::span<const std::byte> data) {
    if (text_.size() + data.size() > limit_) {
        fail(ErrorKind::Input, "the Hub's answer has more than {} bytes", limit_);
    }
    text_.append(reinterpret_cast<const char*>(data.data()), data.size());
}

void wait_for(milliseconds time, const Monitor& monitor) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (true) {
        if (monitor.stopped()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
        const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
        if (left <= milliseconds(0)) {
            return;
        }
        std::this_thread::sleep_for(std::min(left, milliseconds(50)));
    }
}

void Retries::after(const Failure& failure, bool progressed) {
    constexpr int kMostInTotal = 200;
    idle_ = progressed ? 0 : idle_ + 1;
    ++total_;
    const bool final = !failure.transient || (failure.unreachable && !patient_) || most_ == 0;
    if (final) {
        fail(ErrorKind::Network, "{}: {}", what_, failure.reason);
    }
    if (idle_ > most_ || total_ > kMostInTotal) {
        fail(ErrorKind::Network, "{}: {}; gave up after {} tries, what was downloaded is kept for the next one", what_,
             failure.reason, total_);
    }
    if (failure.wait.has_value() && *failure.wait > kLongestWait) {
        fail(ErrorKind::Network, "{}: {}; it asks to wait {} s, try again then", what_, failure.reason,
             failure.wait->count());
    }
    const milliseconds own(progressed ? 0 : 500 << std::min(idle_ - 1, 4));
    const milliseconds wait = failure.wait.has_value() ? milliseconds(*failure.wait) : own;
    if (wait >= seconds(1)) {
        monitor_.note(fmt::format("{}; next try in {} s", failure.reason, wait.count() / 1000));
    }
    wait_for(wait, monitor_);
}

std::optional<seconds> asked_wait(const Response& response) {
    const auto number_at = [](const std::string& text, std::size_t at) -> std::optional<seconds> {
        std::uint32_t value = 0;
        const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), value);
        return error == std::errc() && end != text.data() + at ? std::optional(seconds(value)) : std::nullopt;
    };
    if (const auto found = response.headers.find("retry-after"); found != response.headers.end()) {
        if (const auto wait = number_at(found->second, 0)) {
            return wait;
        }
        const std::time_t date = curl_getdate(found->second.c_str(), nullptr);
        if (date >= 0) {
            return seconds(std::max<std::time_t>(0, date - std::time(nullptr)));
        }
    }
    const auto limit = response.headers.find("ratelimit");
    if (response.status == 429 && limit != response.headers.end()) {
        const std::size_t at = limit->second.find(";t=");
        return at == std::string::npos ? std::nullopt : number_at(limit->second, at + 3);
    }
    return std::nullopt;
}

std::string next_page(const Response& response) {
    const auto link = response.headers.find("link");
    if (link == response.headers.end()) {
        return {};
    }
    // <https://...>; rel="next", <https://...>; rel="last"
    const std::string& text = link->second;
    for (std::size_t begin = text.find('<'); begin != std::string::npos; begin = text.find('<', begin + 1)) {
        const std::size_t end = text.find('>', begin);
        if (end == std::string::npos) {
            break;
        }
        const std::string parameters = text.substr(end + 1, text.find('<', end) - end - 1);
        if (parameters.find("rel=\"next\"") != std::string::npos || parameters.find("rel=next") != std::string::npos) {
            return text.substr(begin + 1, end - begin - 1);
        }
    }
    return {};
}

}  // namespace deltavino::hub
