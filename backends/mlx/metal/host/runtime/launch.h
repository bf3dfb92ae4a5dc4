// One kernel launch: its arguments, what went wrong, and which threadgroup comes next.
#pragma once

#include <atomic>
#include <cstdint>

#include "../msl_runtime.h"
#include "shared.h"

extern "C" {

// Changes when the structures below, or msl_run's parameters, do.
enum { msl_interface = 4 };

enum msl_role { msl_input = 0, msl_output = 1, msl_initialised_output = 2 };

struct msl_buffer {
    void* data;
    uint64_t bytes;
    const char* name;
    int32_t role;
    uint64_t bytes_read;  // set by a checked run: sum of the loads from it, each counted anew
};

// Why a launch stopped. `kind` is null when nothing did. Addresses are offsets in the library.
struct msl_fault {
    const char* kind;
    char text[512];
    char buffer[128];
    int64_t offset;
    uint64_t place;
    uint64_t other_place;
    int32_t has_thread;
    uint32_t thread;
    uint32_t thread_position[3];
    uint32_t threadgroup[3];
};

}  // extern "C"

namespace msl {

// What the OS threads that run a launch share; it owns nothing.
struct Launch {
    const msl_shared* shared;
    msl_entry entry;
    void* const* buffers;
    uint32_t grid[3];
    uint32_t threadgroup[3];
    uint32_t groups[3];
    std::atomic<uint64_t> next;
    uint64_t last;  // one past the last threadgroup to run
    msl_fault* fault;
    std::atomic<bool> faulted;
};

// Where a fault happened: return addresses into the kernel, and the memory concerned.
struct Place {
    const void* site = nullptr;
    const void* other_site = nullptr;
    const char* buffer = "";
    int64_t offset = 0;
};

}  // namespace msl
