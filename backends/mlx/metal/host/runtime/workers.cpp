#include "workers.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace msl {
namespace {

class Workers {
  public:
    const pid_t process = getpid();

    bool run(int count, void (*work)(void*), void* argument) {
        std::unique_lock<std::mutex> only(in_use_, std::try_to_lock);
        if (!only.owns_lock()) return false;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            for (; threads_ < count - 1; ++threads_) std::thread([this] { serve(); }).detach();
            work_ = work;
            argument_ = argument;
            wanted_ = count - 1;
        }
        wake_.notify_all();
        work(argument);
        std::unique_lock<std::mutex> lock(mutex_);
        wanted_ = 0;  // who has not come by now finds nothing left to do
        done_.wait(lock, [this] { return working_ == 0; });
        return true;
    }

  private:
    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return wanted_ > 0; });
            --wanted_;
            ++working_;
            lock.unlock();
            work_(argument_);
            lock.lock();
            if (--working_ == 0) done_.notify_one();
        }
    }

    std::mutex in_use_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    void (*work_)(void*) = nullptr;
    void* argument_ = nullptr;
    int threads_ = 0;
    int wanted_ = 0;
    int working_ = 0;
};

// Never destroyed: its threads outlive static teardown. A fork leaves a child without the
// threads, perhaps amid a launch, so that a child starts anew.
Workers& workers() {
    static std::atomic<Workers*> instance{nullptr};
    Workers* known = instance.load();
    if (known && known->process == getpid()) return *known;
    Workers* fresh = new Workers;
    if (instance.compare_exchange_strong(known, fresh)) return *fresh;
    delete fresh;
    return *known;
}

}  // namespace

void parallel(int count, void (*work)(void*), void* argument) {
    if (count <= 1 || !workers().run(count, work, argument)) work(argument);
}

}  // namespace msl
