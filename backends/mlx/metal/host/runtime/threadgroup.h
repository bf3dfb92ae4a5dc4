// Runs the threads of one threadgroup as fibres: start, wait, resume, barriers, lane exchange.
#pragma once

#include <cstdarg>

#include "fibre.h"
#include "launch.h"
#include "shared.h"

namespace msl {

constexpr size_t kThreadgroupMemoryLimit = 32 << 10;

inline uint32_t lane_bit(uint32_t thread) { return 1u << (thread % kLanesPerSimdgroup); }

// Owns the threadgroup's memory, and its threads' stacks until it is destroyed. Runs threadgroups
// one after another, on the OS thread that calls run().
class Threadgroup {
  public:
    explicit Threadgroup(const msl_shared& shared);
    ~Threadgroup();
    Threadgroup(const Threadgroup&) = delete;
    Threadgroup& operator=(const Threadgroup&) = delete;

    // Runs threadgroup number `index` of the launch to its end, or to a fault.
    void run(Launch& launch, uint64_t index);

    // The running thread's side. `site` is the address the kernel called from.
    msl_wait threadgroup_barrier(Fibre* self, int flags, const void* site);
    msl_wait exchange(Fibre* self, void* operand, msl_combine combine, int flags, const void* site);
    void* memory(int id, const char* name, size_t bytes, size_t alignment, const void* site);

    // Records a fault of `thread`, ends the threadgroup at once and stops the launch.
    [[noreturn]] void fail(uint32_t thread, const char* kind, const Place& place,
                           const char* format, ...) __attribute__((format(printf, 5, 6)));

    const StackPool& stacks() const { return *stacks_; }

  private:
    // What a simdgroup's lanes are waiting for, if they wait, as bit masks over its lanes.
    struct alignas(64) Simdgroup {
        uint32_t members;
        uint32_t exited;
        uint32_t arrived;  // in an exchange or a simdgroup barrier
        uint32_t at_barrier;
        uint32_t ready;
        int first_arrival;
        msl_combine combine;
        void* operands[kLanesPerSimdgroup];  // null for lanes that have returned or never were
    };
    struct Allocation {
        bool used;
        size_t offset;
    };

    static void fibre_main();
    void start_attributes();
    void run_thread(Fibre* self);
    void thread_exited(Fibre* self);
    void release_threadgroup_barrier();
    void complete_exchange(Simdgroup& simdgroup);
    msl_wait wait_at(uint32_t thread, const void* site);
    void* next_context();
    void* new_fibre();
    void thread_position(uint32_t thread, uint32_t (&position)[3]) const;
    void vrecord(uint32_t thread, const char* kind, const Place& place, const char* format,
                 va_list arguments);
    void record(uint32_t thread, const char* kind, const Place& place, const char* format, ...)
        __attribute__((format(printf, 5, 6)));
    void record_deadlock();
    [[noreturn]] void fail_exited(const char* operation, uint32_t waiting, uint32_t exited);

    static constexpr int kSimdgroups = kMaxThreads / kLanesPerSimdgroup;
    static constexpr int kMaxAllocations = 64;

    const msl_shared& shared_;
    StackPool* stacks_;
    char* arena_;
    Launch* launch_;
    uint32_t position_[3];
    uint32_t size_[3];
    uint32_t threads_;
    uint32_t started_;
    uint32_t exited_;
    uint32_t barrier_arrived_;
    uint32_t first_at_barrier_;
    uint32_t ready_simdgroups_;
    uint32_t running_simdgroup_;
    Simdgroup simdgroups_[kSimdgroups];
    msl_attributes attributes_;           // of the thread that starts next
    void* stack_of_thread_[kMaxThreads];  // stack pointers of waiting threads
    const void* site_of_thread_[kMaxThreads];
    uint32_t fibres_;          // how many are prepared
    void* idle_[kMaxThreads];  // stack pointers of those without a thread
    int idle_count_;
    Allocation allocations_[kMaxAllocations];
    size_t arena_top_;
    size_t allocated_;
    void* main_stack_;
};

}  // namespace msl
