// Requests to the Hub and the hosts that it sends us to, by libcurl; and when a failed one is tried again.
#pragma once

#include "hub/settings.hpp"

#include <deltavino/error.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace deltavino::hub {

// How a request reaches whoever waits for it. Both may be called from the thread that makes the request.
struct Monitor {
    std::function<bool()> stopped;  // true ends the request with ErrorKind::Cancelled
    std::function<void(const std::string&)> note;
};

struct Response {
    long status = 0;
    std::map<std::string, std::string> headers;  // names in lower case
};

// Takes the body of a successful response. What it throws ends the request and reaches the caller.
class BodySink {
public:
    virtual ~BodySink() = default;
    virtual void begin(const Response& response) = 0;  // status 200 or 206; also for an empty body
    virtual void write(std::span<const std::byte> data) = 0;
};

// Why a request failed; thrown by Connection and answered by Retries, never seen outside of hub/.
struct Failure {
    std::string reason = {};
    bool transient = false;    // may work when it is tried again
    bool unreachable = false;  // no server was reached: no network, a wrong address, a server that is down
    long status = 0;           // of the answer; 0 when there was none
    std::string code = {};     // the Hub's own word for it, such as "GatedRepo"; may be empty
    std::optional<std::chrono::seconds> wait = {};  // before the next try, as the server asked
};

// One connection at a time, kept open between requests. Not thread-safe: one for each thread.
class Connection {
public:
    Connection(const Settings& settings, Monitor monitor);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // GET from byte `offset` on. Redirects are followed; the token is sent only to the scheme, host and port of
    // the endpoint. `stall`: seconds without a byte that end the request. Throws Failure, or what `sink` throws.
    Response get(const std::string& url, std::uint64_t offset, long stall, BodySink& sink);

private:
    struct State;
    std::unique_ptr<State> state_;
};

// The text of a small resource; throws ErrorKind::Input above `limit` bytes.
class TextSink : public BodySink {
public:
    explicit TextSink(std::uint64_t limit) : limit_(limit) {}
    void begin(const Response&) override { text_.clear(); }
    void write(std::span<const std::byte> data) override;
    const std::string& text() const { return text_; }

private:
    std::uint64_t limit_;
    std::string text_;
};

// Decides after each failed try whether there is another one, and waits before it: 0.5, 1, 2, 4 seconds, or what
// the server asks for, up to five minutes. Tries that brought bytes do not count, up to a bound.
class Retries {
public:
    // `what` begins the message of a final failure: "cannot download ...". `patient`: tries again even when no
    // server was reached. `most`: tries after the first one.
    Retries(const Monitor& monitor, std::string what, bool patient, int most = 4)
        : monitor_(monitor), what_(std::move(what)), patient_(patient), most_(most) {}

    // Returns when the request is to be made again; throws ErrorKind::Network when it is not, and
    // ErrorKind::Cancelled when the user stopped it.
    void after(const Failure& failure, bool progressed);

private:
    const Monitor& monitor_;
    std::string what_;
    bool patient_;
    int most_;
    int idle_ = 0;   // tries in a row that brought nothing
    int total_ = 0;  // tries
};

// Waits, and throws ErrorKind::Cancelled as soon as the user stops it.
void wait_for(std::chrono::milliseconds time, const Monitor& monitor);

// What a header asks to wait: Retry-After in seconds or as a date, or the Hub's own RateLimit ("t=55").
std::optional<std::chrono::seconds> asked_wait(const Response& response);

// The address of the next page in a Link header; empty when there is none.
std::string next_page(const Response& response);

}  // namespace deltavino::hub
