// The library's entry point: runs every threadgroup of a grid on a few OS threads.
#include "launch.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <mutex>
#include <vector>

#include "checker.h"
#include "threadgroup.h"
#include "workers.h"

namespace msl {
namespace {

// Threadgroup runners are kept between launches, since their stacks are costly to touch anew.
class Runners {
  public:
    std::unique_ptr<Threadgroup> take(const msl_shared& shared) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (idle_.empty()) return std::make_unique<Threadgroup>(shared);
        auto runner = std::move(idle_.back());
        idle_.pop_back();
        return runner;
    }
    void give_back(std::unique_ptr<Threadgroup> runner) {
        std::lock_guard<std::mutex> lock(mutex_);
        idle_.push_back(std::move(runner));
    }

  private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Threadgroup>> idle_;
};

Runners& runners() {
    static Runners* instance = new Runners;  // never destroyed: threads may outlive static teardown
    return *instance;
}

void work(Launch& launch) {
    auto runner = runners().take(*launch.shared);
    while (!launch.faulted.load(std::memory_order_relaxed)) {
        const uint64_t index = launch.next.fetch_add(1, std::memory_order_relaxed);
        if (index >= launch.last) break;
        runner->run(launch, index);
    }
    // A checked runner ends here, so that all libraries check on the same guarded stacks.
    if constexpr (!kChecked) runners().give_back(std::move(runner));
}

}  // namespace
}  // namespace msl

extern "C" {

// Runs threadgroups [first, min(last, all)) of a grid of threads. Returns 0, or 1 with *fault set.
// shared: msl_shared_by_all of this library or another.
__attribute__((visibility("default"))) int msl_run(msl_entry entry, msl_buffer* buffers,
                                                   int buffer_count, const uint32_t grid[3],
                                                   const uint32_t threadgroup[3], int workers,
                                                   const msl_shared* shared, uint64_t first,
                                                   uint64_t last, msl_fault* fault) {
    using namespace msl;
    Launch launch;
    std::vector<void*> addresses;
    for (int i = 0; i < buffer_count; ++i) addresses.push_back(buffers[i].data);
    launch.shared = shared;
    launch.entry = entry;
    launch.buffers = addresses.data();
    launch.fault = fault;
    launch.faulted = false;
    fault->kind = nullptr;
    uint64_t all = 1;
    for (int i = 0; i < 3; ++i) {
        launch.grid[i] = grid[i];
        launch.threadgroup[i] = std::min(threadgroup[i], grid[i]);
        launch.groups[i] = (grid[i] + launch.threadgroup[i] - 1) / launch.threadgroup[i];
        all *= launch.groups[i];
    }
    launch.next = first;
    launch.last = std::min(last, all);

    if constexpr (kChecked) {
        static std::mutex one_launch;  // shadow memory knows one running thread
        std::lock_guard<std::mutex> lock(one_launch);
        checker::begin_launch(buffers, buffer_count, addresses.data());
        work(launch);
        const bool whole_grid = first == 0 && launch.last == all;
        checker::end_launch(*fault, whole_grid && !launch.faulted);
    } else {
        const uint64_t count = launch.last > first ? launch.last - first : 0;
        const uint64_t useful = std::min<uint64_t>(uint64_t(std::max(workers, 1)), count);
        shared->parallel(
            int(useful), [](void* launch) { work(*static_cast<Launch*>(launch)); }, &launch);
    }
    return fault->kind != nullptr;
}

__attribute__((visibility("default"))) const char* msl_library_build() {
    return msl::kChecked ? "checked" : "fast";
}

__attribute__((visibility("default"))) int msl_library_interface() { return msl_interface; }

}  // extern "C"
