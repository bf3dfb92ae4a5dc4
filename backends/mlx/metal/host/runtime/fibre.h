// Fibres: the stacks that a threadgroup's threads run on, switched in user space.
//
// One OS thread runs a whole threadgroup. A Metal thread that waits gives its stack to the next
// one, so a barrier costs a few nanoseconds a thread and the order is the same on every run.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../msl_runtime.h"

namespace msl {

constexpr int kMaxThreads = 1024;
constexpr int kLanesPerSimdgroup = 32;
constexpr size_t kStackBytes = 64 << 10;

class Threadgroup;

struct Fibre {
    Threadgroup* group;
    uint32_t thread;  // index in the threadgroup of the thread that now runs here
};

// Stacks are aligned to their size, so code finds its fibre from the stack pointer alone: no
// thread-local lookup, and shared libraries stay free of static TLS. The record's place varies
// from stack to stack to spread it over cache sets, which equal offsets would not do.
inline Fibre* fibre_of_stack(uintptr_t stack) {
    const uintptr_t index = stack / kStackBytes;
    return reinterpret_cast<Fibre*>(stack + index % 64 * 64);
}
inline Fibre* current_fibre() {
    const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    return fibre_of_stack(here & ~uintptr_t(kStackBytes - 1));
}

// Reserved address space for kMaxThreads stacks; pages become real when they are touched.
class StackPool {
  public:
    StackPool();
    ~StackPool();
    StackPool(const StackPool&) = delete;
    StackPool& operator=(const StackPool&) = delete;

    uintptr_t begin() const { return begin_; }
    uintptr_t end() const { return begin_ + kStackBytes * kMaxThreads; }

    // Sets up fibre number `index` of `group` to call `entry` (which must not return). Returns the
    // stack pointer to switch to, as in msl_wait.
    void* prepare(int index, Threadgroup* group, void (*entry)());

  private:
    void* mapping_;
    uintptr_t begin_;
};

}  // namespace msl
