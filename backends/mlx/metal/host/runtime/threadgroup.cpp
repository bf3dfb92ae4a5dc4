#include "threadgroup.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../msl_wait.h"
#include "checker.h"

namespace msl {

namespace {

// Room around every threadgroup array, so that a stray access is seen and harms nothing else.
constexpr size_t kRedZone = 1 << 10;
constexpr size_t kArenaBytes = 256 << 10;
// Uninitialised memory reads as NaN in every float type.
constexpr int kPoison = 0xff;

// A wait costs little more than its loads and stores: what leads to the switch is one function.
#define MSL_INLINE inline __attribute__((always_inline))

}  // namespace

Threadgroup::Threadgroup(const msl_shared& shared)
    : shared_(shared), stacks_(shared.take_stacks(kChecked)), fibres_(0), idle_count_(0) {
    void* mapping =
        mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) {
        perror("metal host runtime: cannot reserve threadgroup memory");
        abort();
    }
    arena_ = static_cast<char*>(mapping);
}

Threadgroup::~Threadgroup() {
    shared_.give_stacks(stacks_);
    munmap(arena_, kArenaBytes);
}

void* Threadgroup::new_fibre() {
    return stacks_->prepare(fibres_++, this, &Threadgroup::fibre_main);
}

void Threadgroup::run(Launch& launch, uint64_t index) {
    launch_ = &launch;
    const uint64_t row = index / launch.groups[0];
    position_[0] = uint32_t(index % launch.groups[0]);
    position_[1] = uint32_t(row % launch.groups[1]);
    position_[2] = uint32_t(row / launch.groups[1]);
    threads_ = 1;
    for (int i = 0; i < 3; ++i) {
        size_[i] =
            std::min(launch.threadgroup[i], launch.grid[i] - position_[i] * launch.threadgroup[i]);
        threads_ *= size_[i];
    }
    started_ = exited_ = barrier_arrived_ = ready_simdgroups_ = running_simdgroup_ = 0;
    const uint32_t simdgroups = (threads_ + kLanesPerSimdgroup - 1) / kLanesPerSimdgroup;
    for (uint32_t s = 0; s < simdgroups; ++s) {
        const uint32_t lanes = std::min<uint32_t>(kLanesPerSimdgroup, threads_ - s * 32);
        Simdgroup& simdgroup = simdgroups_[s];
        memset(&simdgroup, 0, sizeof simdgroup);
        simdgroup.members = uint32_t((uint64_t(1) << lanes) - 1);
    }
    memset(allocations_, 0, sizeof allocations_);
    arena_top_ = kRedZone;
    allocated_ = 0;
    start_attributes();
    if constexpr (kChecked) checker::begin_threadgroup(*this, index);

    msl_switch(&main_stack_, next_context());

    const bool faulted = launch.faulted.load(std::memory_order_relaxed);
    if (exited_ == threads_ && !faulted) return;
    if (!faulted) record_deadlock();
    // Threads may be left amid the kernel: no fibre is used again as it is.
    fibres_ = idle_count_ = 0;
}

void Threadgroup::fibre_main() {
    Fibre* self = current_fibre();
    Threadgroup& group = *self->group;
    for (;;) {
        group.run_thread(self);
        group.thread_exited(self);
        // A thread that never waited leaves its stack to the next one without a switch.
        if (!group.ready_simdgroups_ && group.started_ < group.threads_) continue;
        void** idle = &group.idle_[group.idle_count_++];
        wait({group.next_context(), idle});
    }
}

void Threadgroup::start_attributes() {
    msl_attributes& attributes = attributes_;
    uint32_t dispatch_threads = 1;
    for (int i = 0; i < 3; ++i) {
        attributes.dispatch_threads_per_threadgroup[i] = launch_->threadgroup[i];
        attributes.threads_per_threadgroup[i] = size_[i];
        attributes.thread_position_in_threadgroup[i] = 0;
        attributes.thread_position_in_grid[i] = position_[i] * launch_->threadgroup[i];
        attributes.threadgroup_position_in_grid[i] = position_[i];
        attributes.threadgroups_per_grid[i] = launch_->groups[i];
        attributes.threads_per_grid[i] = launch_->grid[i];
        dispatch_threads *= launch_->threadgroup[i];
    }
    attributes.simdgroups_per_threadgroup = (threads_ + 31) / 32;
    attributes.dispatch_simdgroups_per_threadgroup = (dispatch_threads + 31) / 32;
    attributes.quadgroups_per_threadgroup = (threads_ + 3) / 4;
    attributes.dispatch_quadgroups_per_threadgroup = (dispatch_threads + 3) / 4;
}

void Threadgroup::run_thread(Fibre* self) {
    const uint32_t thread = started_++;
    self->thread = thread;
    if constexpr (kChecked)
        self->kernel_stack = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    running_simdgroup_ = thread / kLanesPerSimdgroup;
    // The kernel takes its attributes by value before anything else, so that one copy serves all.
    attributes_.thread_index_in_threadgroup = thread;
    if (thread) {
        uint32_t (&position)[3] = attributes_.thread_position_in_threadgroup;
        for (int i = 0; i < 3 && ++position[i] == size_[i]; ++i) position[i] = 0;
        for (int i = 0; i < 3; ++i)
            attributes_.thread_position_in_grid[i] =
                position_[i] * launch_->threadgroup[i] + position[i];
    }
    launch_->entry(launch_->buffers, &attributes_);
}

void Threadgroup::thread_exited(Fibre* self) {
    const uint32_t thread = self->thread;
    Simdgroup& simdgroup = simdgroups_[thread / kLanesPerSimdgroup];
    simdgroup.exited |= lane_bit(thread);
    simdgroup.operands[thread % kLanesPerSimdgroup] = nullptr;
    ++exited_;
    if (simdgroup.arrived && (simdgroup.arrived | simdgroup.exited) == simdgroup.members)
        complete_exchange(simdgroup);
    if (barrier_arrived_ && barrier_arrived_ + exited_ == threads_) release_threadgroup_barrier();
}

MSL_INLINE msl_wait Threadgroup::threadgroup_barrier(Fibre* self, int flags, const void* site) {
    const uint32_t thread = self->thread;
    if constexpr (kChecked) {
        if (barrier_arrived_ && site_of_thread_[first_at_barrier_] != site) {
            fail(thread, "divergence", {site, site_of_thread_[first_at_barrier_]},
                 "threadgroup_barrier, but thread %u waits at another one", first_at_barrier_);
        }
        checker::threadgroup_barrier(thread, flags);
    }
    if (!barrier_arrived_) first_at_barrier_ = thread;
    ++barrier_arrived_;
    site_of_thread_[thread] = site;
    simdgroups_[thread / kLanesPerSimdgroup].at_barrier |= lane_bit(thread);
    if (barrier_arrived_ + exited_ == threads_) release_threadgroup_barrier();
    const Simdgroup& simdgroup = simdgroups_[thread / kLanesPerSimdgroup];
    return simdgroup.at_barrier & lane_bit(thread) ? wait_at(thread, site) : msl_wait{};
}

// Everybody is here: all become ready except the running thread, which has not given up its turn.
void Threadgroup::release_threadgroup_barrier() {
    if (kChecked && exited_) fail_exited("threadgroup_barrier", first_at_barrier_, exited_);
    const uint32_t running = current_fibre()->thread;
    barrier_arrived_ = 0;
    for (uint32_t s = 0; s * kLanesPerSimdgroup < threads_; ++s) {
        Simdgroup& simdgroup = simdgroups_[s];
        uint32_t released = simdgroup.at_barrier;
        if (s == running / kLanesPerSimdgroup) released &= ~lane_bit(running);
        simdgroup.at_barrier = 0;
        simdgroup.ready |= released;
        if (simdgroup.ready) ready_simdgroups_ |= 1u << s;
    }
}

MSL_INLINE msl_wait Threadgroup::exchange(Fibre* self, void* operand, msl_combine combine,
                                          int flags, const void* site) {
    const uint32_t thread = self->thread;
    Simdgroup& simdgroup = simdgroups_[thread / kLanesPerSimdgroup];
    if (!simdgroup.arrived) {
        simdgroup.first_arrival = int(thread);
        simdgroup.combine = combine;
    } else {
        const uint32_t first = uint32_t(simdgroup.first_arrival);
        const bool other_place = kChecked && site_of_thread_[first] != site;
        // Operands of two operations differ in size, so not even the fast run can go on.
        if (combine != simdgroup.combine || other_place) {
            fail(thread, "divergence", {site, site_of_thread_[first]},
                 "simdgroup operation, but thread %u of the simdgroup is in another one", first);
        }
    }
    if constexpr (kChecked) {
        if (!combine) checker::simdgroup_barrier(thread, flags);
    }
    simdgroup.operands[thread % kLanesPerSimdgroup] = operand;
    simdgroup.arrived |= lane_bit(thread);
    if ((simdgroup.arrived | simdgroup.exited) != simdgroup.members) return wait_at(thread, site);
    complete_exchange(simdgroup);
    return {};
}

void Threadgroup::complete_exchange(Simdgroup& simdgroup) {
    if (kChecked && simdgroup.exited)
        fail_exited("a simdgroup operation", uint32_t(simdgroup.first_arrival),
                    uint32_t(__builtin_popcount(simdgroup.exited)));
    if (simdgroup.combine) {
        if constexpr (kChecked) {
            // On the stack, where the checker expects what kernel code touches.
            void* operands[kLanesPerSimdgroup];
            memcpy(operands, simdgroup.operands, sizeof operands);
            checker::combine(simdgroup.combine, operands);
        } else {
            simdgroup.combine(simdgroup.operands);
        }
    }
    const uint32_t s = uint32_t(&simdgroup - simdgroups_);
    const uint32_t running = current_fibre()->thread;
    uint32_t released = simdgroup.arrived;
    if (s == running / kLanesPerSimdgroup) released &= ~lane_bit(running);
    simdgroup.arrived = 0;
    simdgroup.ready |= released;
    if (simdgroup.ready) ready_simdgroups_ |= 1u << s;
}

MSL_INLINE msl_wait Threadgroup::wait_at(uint32_t thread, const void* site) {
    site_of_thread_[thread] = site;
    return {next_context(), &stack_of_thread_[thread]};
}

// Where to go on: a thread that can, of the running simdgroup if there is one; else a thread not
// yet started; else back to run().
MSL_INLINE void* Threadgroup::next_context() {
    if (ready_simdgroups_) {
        const uint32_t s = ready_simdgroups_ >> running_simdgroup_ & 1
                               ? running_simdgroup_
                               : uint32_t(__builtin_ctz(ready_simdgroups_));
        Simdgroup& simdgroup = simdgroups_[s];
        const uint32_t lane = uint32_t(__builtin_ctz(simdgroup.ready));
        simdgroup.ready &= simdgroup.ready - 1;
        if (!simdgroup.ready) ready_simdgroups_ &= ~(1u << s);
        running_simdgroup_ = s;
        return stack_of_thread_[s * kLanesPerSimdgroup + lane];
    }
    // The fibre that became idle last is taken first, so that few stacks are touched.
    if (started_ < threads_) return idle_count_ ? idle_[--idle_count_] : new_fibre();
    return main_stack_;
}

void* Threadgroup::memory(int id, const char* name, size_t bytes, size_t alignment,
                          const void* site) {
    if (id >= kMaxAllocations) {
        fail(current_fibre()->thread, "limit", {site, nullptr, name},
             "more than %d threadgroup declarations", kMaxAllocations);
    }
    Allocation& allocation = allocations_[id];
    if (!allocation.used) {
        allocated_ = (allocated_ + alignment - 1) / alignment * alignment + bytes;
        if (allocated_ > kThreadgroupMemoryLimit) {
            fail(current_fibre()->thread, "limit", {site, nullptr, name},
                 "'%s' makes %zu bytes of threadgroup memory, Metal allows %zu", name, allocated_,
                 kThreadgroupMemoryLimit);
        }
        allocation.used = true;
        // Wider than any element, so that only the offset within the array decides alignment.
        allocation.offset = (arena_top_ + 255) / 256 * 256;
        arena_top_ = allocation.offset + bytes + kRedZone;
        memset(arena_ + allocation.offset, kPoison, bytes);
        if constexpr (kChecked)
            checker::add_threadgroup_memory(name, arena_ + allocation.offset, bytes);
    }
    return arena_ + allocation.offset;
}

}  // namespace msl

extern "C" {

msl_wait msl_arrive_at_threadgroup_barrier(int flags) {
    msl::Fibre* self = msl::current_fibre();
    return self->group->threadgroup_barrier(self, flags, __builtin_return_address(0));
}

msl_wait msl_arrive_at_exchange(void* operand, msl_combine combine) {
    msl::Fibre* self = msl::current_fibre();
    return self->group->exchange(self, operand, combine, 0, __builtin_return_address(0));
}

void msl_threadgroup_barrier(int flags) {
    msl::Fibre* self = msl::current_fibre();
    msl::wait(self->group->threadgroup_barrier(self, flags, __builtin_return_address(0)));
}

void msl_simdgroup_barrier(int flags) {
    msl::Fibre* self = msl::current_fibre();
    msl::wait(self->group->exchange(self, nullptr, nullptr, flags, __builtin_return_address(0)));
}

void msl_exchange(void* operand, msl_combine combine) {
    msl::Fibre* self = msl::current_fibre();
    msl::wait(self->group->exchange(self, operand, combine, 0, __builtin_return_address(0)));
}

uint32_t msl_lane() { return msl::current_fibre()->thread % msl::kLanesPerSimdgroup; }

void* msl_threadgroup_memory(int id, const char* name, size_t bytes, size_t alignment) {
    msl::Fibre* self = msl::current_fibre();
    return self->group->memory(id, name, bytes, alignment, __builtin_return_address(0));
}

}  // extern "C"
