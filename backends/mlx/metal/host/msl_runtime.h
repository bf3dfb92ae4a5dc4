// What compiled kernels ask of the host runtime: identity, barriers, lane exchange, memory.
//
// A library holds any number of kernels and one runtime; the runtime's side is in runtime/.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// Metal's thread attributes, one field each; see metal_kernel's signature.
struct msl_attributes {
    uint32_t dispatch_threads_per_threadgroup[3];
    uint32_t threads_per_threadgroup[3];
    uint32_t thread_position_in_threadgroup[3];
    uint32_t thread_position_in_grid[3];
    uint32_t threadgroup_position_in_grid[3];
    uint32_t threadgroups_per_grid[3];
    uint32_t threads_per_grid[3];
    uint32_t thread_index_in_threadgroup;
    uint32_t simdgroups_per_threadgroup;
    uint32_t dispatch_simdgroups_per_threadgroup;
    uint32_t quadgroups_per_threadgroup;
    uint32_t dispatch_quadgroups_per_threadgroup;
};

// One compiled kernel: called once for every thread of the grid.
typedef void (*msl_entry)(void* const* buffers, const msl_attributes* thread);

// flags: metal::mem_flags.
void msl_threadgroup_barrier(int flags);
void msl_simdgroup_barrier(int flags);

// Called by every lane of a simdgroup. `lane` is the lane's operand and becomes its result: the
// last lane to arrive runs `combine` over all of them (null for a lane that takes no part).
typedef void (*msl_combine)(void* const* lanes);
void msl_exchange(void* lane, msl_combine combine);

// The same in two halves: the first notes that the thread has come. With `to` null it goes on;
// else its stack pointer is to be left in *save, and `to` is the stack to go on with, whose top
// holds the address to go on at.
struct msl_wait {
    void* to;
    void** save;
};
// Does that: pushes the callee-saved registers and the address to go on at first.
void msl_switch(void** save, void* to);
struct msl_wait msl_arrive_at_threadgroup_barrier(int flags);
struct msl_wait msl_arrive_at_exchange(void* lane, msl_combine combine);

// The same during the whole life of a thread.
uint32_t msl_lane() __attribute__((const));

// The threadgroup's memory for declaration number `id` of the kernel; the same for every thread.
void* msl_threadgroup_memory(int id, const char* name, size_t bytes, size_t alignment);

}  // extern "C"
