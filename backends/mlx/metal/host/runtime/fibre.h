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
// Below each stack lies as much that no thread uses: at least a page of any platform supported.
constexpr size_t kGuardBytes = 64 << 10;
constexpr size_t kSlotBytes = kGuardBytes + kStackBytes;

class Threadgroup;

struct Fibre {
    Threadgroup* group;
    uint32_t thread;         // index in the threadgroup of the thread that now runs here
    uintptr_t kernel_stack;  // where the kernel's own frames begin, growing downwards; checked only
};

// Slots are aligned to their size, so code finds its fibre from the stack pointer alone: no
// thread-local lookup, and shared libraries stay free of static TLS. The record is at a slot's top,
// the stack below it. Its place varies from slot to slot to spread records and stacks over cache
// sets, which equal offsets would not do.
inline Fibre* fibre_at(uintptr_t address) {
    const uintptr_t number = address / kSlotBytes;
    return reinterpret_cast<Fibre*>((number + 1) * kSlotBytes - 64 - number % 64 * 64);
}
inline Fibre* current_fibre() {
    return fibre_at(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
}

// Owns the address space of kMaxThreads slots; pages become real when they are touched. If
// `guarded`, what is below a stack becomes inaccessible when its first fibre is prepared. Such a
// border is two memory maps a stack, of which a process may have 65530 by default: so only the
// checked build has them, which runs one threadgroup at a time.
class StackPool {
  public:
    explicit StackPool(bool guarded);
    ~StackPool();
    StackPool(const StackPool&) = delete;
    StackPool& operator=(const StackPool&) = delete;

    bool guarded() const { return guarded_; }
    bool holds(uintptr_t address) const { return address - begin_ < kSlotBytes * kMaxThreads; }

    // Sets up fibre `number` of `group` to call `entry` (which must not return). Returns the stack
    // pointer to switch to, as in msl_wait.
    void* prepare(uint32_t number, Threadgroup* group, void (*entry)());

  private:
    void* mapping_;
    uintptr_t begin_;
    bool guarded_;
    uint32_t touched_;  // how many slots were prepared ever
};

}  // namespace msl
