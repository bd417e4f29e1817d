#include "base/worker_pool.hpp"

#include <algorithm>
#include <system_error>

namespace deltavino {

WorkerPool::WorkerPool(unsigned threads) {
    const unsigned all = threads > 0 ? threads : std::max(std::thread::hardware_concurrency(), 1u);
    for (unsigned i = 1; i < all; ++i) {
        try {
            threads_.emplace_back([this]() { serve(); });
        } catch (const std::system_error&) {
            break;  // fewer helpers are slower, not wrong
        }
    }
}

WorkerPool::~WorkerPool() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    awake_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void WorkerPool::Task::help() {
    for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        (*step)(i);
        if (done.fetch_add(1) + 1 == count) {
            done.notify_all();
        }
    }
}

void WorkerPool::serve() {
    std::shared_ptr<Task> last;
    while (true) {
        {
            std::unique_lock lock(mutex_);
            awake_.wait(lock, [&]() { return ends_ || task_ != last; });
            if (ends_) {
                return;
            }
            last = task_;
        }
        last->help();
    }
}

void WorkerPool::run(std::size_t count, const std::function<void(std::size_t)>& step) {
    const auto task = std::make_shared<Task>();
    task->step = &step;
    task->count = count;
    if (count > 1 && !threads_.empty()) {
        {
            const std::lock_guard lock(mutex_);
            task_ = task;
        }
        awake_.notify_all();
    }
    task->help();
    for (std::size_t done = task->done.load(); done < count; done = task->done.load()) {
        task->done.wait(done);
    }
}

}  // namespace deltavino
