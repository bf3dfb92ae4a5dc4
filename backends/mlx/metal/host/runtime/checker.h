// The checker: decides for each access of a kernel whether Metal allows it.
//
// In the checked build g++'s -fsanitize=thread and -fsanitize=alignment,bounds call the functions
// in hooks.cpp at every access, and those call the ones here. There is one checked launch at a time
// in a library. It owns copies of the launch's buffers (guarded.h) and what was done to each byte
// (shadow.h). A fault stops the launch: see Threadgroup::fail.
#pragma once

#include <cstddef>
#include <cstdint>

#include "launch.h"

namespace msl {

#ifdef MSL_CHECKED
constexpr bool kChecked = true;
#else
constexpr bool kChecked = false;
#endif

class Threadgroup;

namespace checker {

// Copies buffers to where nothing else is near, and puts the copies' addresses into `addresses`.
// Large inputs stay.
void begin_launch(msl_buffer* buffers, int count, void** addresses);
// `whole`: every threadgroup ran to its end, so each byte of the outputs must have been written.
void end_launch(msl_fault& fault, bool whole);

void begin_threadgroup(Threadgroup& group, uint64_t index);
void add_threadgroup_memory(const char* name, void* data, size_t bytes);

// `thread` has reached a barrier that orders memory of the kinds in `flags` (metal::mem_flags).
void threadgroup_barrier(uint32_t thread, int flags);
void simdgroup_barrier(uint32_t thread, int flags);

// Calls combine(lanes), which may touch the stacks of all lanes.
void combine(msl_combine combine, void* const* lanes);

enum class Access { read, write, atomic_update, atomic_store };
// Called before the access happens. Does not return if the access is a fault.
void access(uintptr_t address, size_t bytes, Access access, const void* site);
void misaligned(uintptr_t address, size_t alignment, const char* type, const void* site);
void index_out_of_bounds(int64_t index, const char* type, const void* site);

}  // namespace checker
}  // namespace msl
