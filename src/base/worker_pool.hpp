// Threads that wait for work that comes again and again, in steps that do not depend on each other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace deltavino {

class WorkerPool {
public:
    // `threads`: with the caller's own; 0: one for each processor that this process may use.
    explicit WorkerPool(unsigned threads = 0);
    ~WorkerPool();
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;

    // Calls step(i) for every i below `count`, in the calling thread and in those of the pool that are awake, and
    // returns when all are done. It never waits for a thread that has not begun. `step` must not throw. Calls from
    // several threads at once are right; only one of them has helpers.
    void run(std::size_t count, const std::function<void(std::size_t)>& step);

private:
    struct Task {
        const std::function<void(std::size_t)>* step;
        std::size_t count;
        std::atomic<std::size_t> next{0};
        std::atomic<std::size_t> done{0};

        void help();
    };

    void serve();

    std::mutex mutex_;
    std::condition_variable awake_;
    std::shared_ptr<Task> task_;  // the newest; null: none yet
    bool ends_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace deltavino
