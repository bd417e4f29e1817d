// Bytes are hashed as they arrive, so that no file is read a second time. The blob gets its name only when its
// hash is right: who finds a blob can trust it.
#include "hub/download.hpp"

#include "base/error.hpp"
#include "base/file_lock.hpp"
#include "base/partial_file.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <exception>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace deltavino::hub {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::size_t kConnections = 8;  // as huggingface_hub

// What the threads share.
class Shared {
public:
    std::atomic<std::uint64_t> done{0};  // bytes
    std::atomic<std::size_t> next{0};    // file
    std::atomic<std::size_t> finished{0};
    std::atomic<bool> stop{false};

    // The first error counts; the others only follow from it.
    void fail_with(std::exception_ptr error) {
        const std::lock_guard lock(mutex_);
        if (!error_) {
            error_ = std::move(error);
        }
        stop = true;
    }
    void note(const std::string& sentence) {
        const std::lock_guard lock(mutex_);
        notes_.push_back(sentence);
    }
    std::vector<std::string> take_notes() {
        const std::lock_guard lock(mutex_);
        return std::exchange(notes_, {});
    }
    std::exception_ptr error() {
        const std::lock_guard lock(mutex_);
        return error_;
    }

private:
    std::mutex mutex_;
    std::exception_ptr error_;
    std::vector<std::string> notes_;
};

// First byte and whole size of "bytes 100-199/200".
bool parse_content_range(const std::string& text, std::uint64_t& first, std::uint64_t& size) {
    constexpr std::string_view kUnit = "bytes ";
    const std::size_t slash = text.find('/');
    if (!text.starts_with(kUnit) || slash == std::string::npos) {
        return false;
    }
    const char* const end = text.data() + text.size();
    return std::from_chars(text.data() + kUnit.size(), end, first).ec == std::errc() &&
           std::from_chars(text.data() + slash + 1, end, size).ec == std::errc();
}

// One file on its way into the cache.
class FileDownload : public BodySink {
public:
    FileDownload(const Job& job, const RemoteFile& file, const fs::path& place, Shared& shared)
        : job_(job), file_(file), shared_(shared), partial_(place), digest_(file.digest, file.size) {}

    // Leaves a part for the next time, but no empty file.
    ~FileDownload() override {
        if (partial_.size() == 0 && !published_) {
            partial_.discard();
        }
    }

    // Throws when the blob cannot be made.
    void run(Connection& connection, const std::string& url, const Monitor& monitor);

    void begin(const Response& response) override;
    void write(std::span<const std::byte> data) override;

private:
    std::string what() const { return fmt::format("cannot download '{}' of '{}'", file_.name, job_.repository.id); }
    void take_up();
    void restart();
    void transfer(Connection& connection, const std::string& url, const Monitor& monitor);

    const Job& job_;
    const RemoteFile& file_;
    Shared& shared_;
    PartialFile partial_;
    Digest digest_;
    bool published_ = false;
    bool resumed_ = false;  // bytes of an earlier process are in it
};

void FileDownload::restart() {
    shared_.done -= partial_.size();
    partial_.clear();
    digest_ = Digest(file_.digest, file_.size);
    resumed_ = false;
}

// Hashes what an earlier download left.
void FileDownload::take_up() {
    if (partial_.size() > file_.size) {
        partial_.clear();
    }
    std::vector<std::byte> buffer(std::min<std::uint64_t>(partial_.size(), 1u << 20));
    for (std::uint64_t at = 0; at < partial_.size() && !shared_.stop; at += buffer.size()) {
        buffer.resize(std::min<std::uint64_t>(buffer.size(), partial_.size() - at));
        partial_.read(at, buffer);
        digest_.update(buffer);
    }
    resumed_ = partial_.size() > 0;
    shared_.done += partial_.size();
}

void FileDownload::begin(const Response& response) {
    if (response.status == 206) {
        std::uint64_t first = 0;
        std::uint64_t size = 0;
        const auto range = response.headers.find("content-range");
        if (range == response.headers.end() || !parse_content_range(range->second, first, size) ||
            first != partial_.size() || size != file_.size) {
            throw Failure{.reason = fmt::format("the server sends '{}', expected 'bytes {}-{}/{}'",
                                                range == response.headers.end() ? "" : one_line(range->second),
                                                partial_.size(), file_.size - 1, file_.size)};
        }
        return;
    }
    if (partial_.size() > 0) {  // a server that does not resume
        restart();
    }
    const auto length = response.headers.find("content-length");
    if (length != response.headers.end() && length->second != std::to_string(file_.size)) {
        throw Failure{.reason = fmt::format("the server announces {} bytes, expected {} (a login page of the network?)",
                                            length->second, file_.size)};
    }
}

void FileDownload::write(std::span<const std::byte> data) {
    if (data.size() > file_.size - partial_.size()) {
        throw Failure{.reason = fmt::format("the server sends more than {} bytes", file_.size)};
    }
    partial_.append(data);
    digest_.update(data);
    shared_.done += data.size();
}

void FileDownload::transfer(Connection& connection, const std::string& url, const Monitor& monitor) {
    Retries retries(monitor, what(), true);
    bool range_refused = false;
    while (partial_.size() < file_.size) {
        const std::uint64_t before = partial_.size();
        Failure failure;
        try {
            connection.get(url, before, job_.settings.stall_seconds, *this);
            if (partial_.size() == file_.size) {
                return;
            }
            failure = {.reason = fmt::format("the body ended after {} of {} bytes", partial_.size(), file_.size),
                       .transient = true};
        } catch (const Failure& caught) {
            failure = caught;
        }
        if (failure.status == 416 && before > 0 && !range_refused) {
            range_refused = true;
            restart();
            continue;
        }
        retries.after(explain(failure, job_.settings, job_.repository), partial_.size() > before);
    }
}

void FileDownload::run(Connection& connection, const std::string& url, const Monitor& monitor) {
    take_up();
    while (true) {
        transfer(connection, url, monitor);
        const std::string found = digest_.finish();
        if (found == file_.etag) {
            partial_.publish(job_.cache.blob(file_));
            published_ = true;
            return;
        }
        if (!resumed_) {
            partial_.discard();
            fail(ErrorKind::Network,
                 "{}: it arrived damaged, its hash is {}, expected {}; it was removed (try again, or another network)",
                 what(), found, file_.etag);
        }
        shared_.note(fmt::format("the part of '{}' that was in the cache is damaged: from the start", file_.name));
        restart();
    }
}

// Waits for other processes that download the same blob, huggingface_hub among them. False: the file system has no
// locks.
bool take_lock(FileLock& lock, const fs::path& path, const RemoteFile& file, Shared& shared, const Monitor& monitor) {
    constexpr int kTriesBeforeNote = 20;
    for (int tries = 0;; ++tries) {
        switch (lock.take(path)) {
            case LockState::Taken: return true;
            case LockState::None: return false;
            case LockState::Vanished: break;
            case LockState::Busy:
                if (tries == kTriesBeforeNote) {
                    shared.note(fmt::format("waiting for another program that downloads '{}'", file.name));
                }
                break;
        }
        wait_for(milliseconds(100), monitor);
    }
}

void make_file(const Job& job, const RemoteFile& file, Connection& connection, Shared& shared, const Monitor& monitor) {
    FileLock lock;
    const bool locked = take_lock(lock, job.cache.lock(file), file, shared, monitor);
    const bool fresh = !job.cache.holds_blob(file);
    if (fresh) {
        // Without a lock nobody else may write to the same file.
        fs::path place = job.cache.blob(file);
        place += locked ? std::string(".incomplete") : fmt::format(".{:08x}.incomplete", std::random_device()());
        FileDownload(job, file, place, shared)
            .run(connection, file_url(job.settings, job.repository, job.commit, file.name), monitor);
    } else {
        shared.done += file.size;
    }
    job.cache.link(job.commit, file, fresh);
}

void work(const Job& job, const Listing& files, Shared& shared) {
    try {
        const Monitor monitor{[&shared] { return shared.stop.load(); },
                              [&shared](const std::string& sentence) { shared.note(sentence); }};
        Connection connection(job.settings, monitor);
        while (!shared.stop) {
            const std::size_t index = shared.next++;
            if (index >= files.size()) {
                break;
            }
            make_file(job, files[index], connection, shared, monitor);
        }
    } catch (...) {
        shared.fail_with(std::current_exception());
    }
    ++shared.finished;
}

void require_space(const Cache& cache, std::uint64_t bytes) {
    std::error_code error;
    const fs::space_info space = fs::space(cache.folder(), error);
    if (!error && bytes > space.available) {
        fail(ErrorKind::Output, "cannot download into '{}': {} are needed, {} are free on that disk",
             cache.folder().string(), human_bytes(bytes), human_bytes(space.available));
    }
}

// Bytes that are already there, whole or in part.
std::uint64_t bytes_at(const Cache& cache, const RemoteFile& file) {
    if (cache.holds_blob(file)) {
        return file.size;
    }
    fs::path partial = cache.blob(file);
    partial += ".incomplete";
    std::error_code error;
    const std::uintmax_t size = fs::file_size(partial, error);
    return error || size > file.size ? 0 : size;
}

}  // namespace

void download(const Job& job, Listing files, ProgressSink& progress) {
    std::uint64_t total = 0;
    std::uint64_t there = 0;
    for (const RemoteFile& file : files) {
        total += file.size;
        there += bytes_at(job.cache, file);
    }
    job.cache.make_folders(job.commit);
    require_space(job.cache, total - there);
    // The longest first, so that none is left alone at the end.
    std::stable_sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
    Shared shared;
    const std::size_t count = std::min(kConnections, files.size());
    {
        std::vector<std::jthread> threads;
        struct StopOnExit {
            Shared& shared;
            ~StopOnExit() { shared.stop = true; }
        } const stop_on_exit{shared};
        for (std::size_t i = 0; i < count; ++i) {
            threads.emplace_back([&] { work(job, files, shared); });
        }
        while (shared.finished < count) {
            progress.update("downloading", std::min<std::uint64_t>(shared.done, total), total);
            for (const std::string& sentence : shared.take_notes()) {
                progress.note(sentence);
            }
            if (progress.cancelled()) {
                shared.fail_with(std::make_exception_ptr(
                    Error(ErrorKind::Cancelled,
                          "stopped; what was downloaded is kept, the same command goes on from there")));
            }
            std::this_thread::sleep_for(milliseconds(20));
        }
    }
    for (const std::string& sentence : shared.take_notes()) {
        progress.note(sentence);
    }
    if (const std::exception_ptr error = shared.error()) {
        std::rethrow_exception(error);
    }
    progress.update("downloading", total, total);
}

}  // namespace deltavino::hub
