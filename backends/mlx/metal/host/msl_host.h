// Metal Shading Language as host C++: included before the text of a kernel.
//
// Address spaces vanish, since the host has one; the address-space check covers them. Only
// `threadgroup T name[N];` needs a rewrite (host_source.py), into threadgroup_memory below.
#pragma once

#include "msl_atomic.h"
#include "msl_math.h"
#include "msl_matrix.h"

namespace msl {
template <typename T>
MSL_FN T& threadgroup_memory(int id, const char* name) {
    return *static_cast<T*>(msl_threadgroup_memory(id, name, sizeof(T), alignof(T)));
}
MSL_FN metal::vec<uint, 3> position(const uint32_t (&p)[3]) {
    return metal::vec<uint, 3>(p[0], p[1], p[2]);
}
}  // namespace msl

using metal::atomic;
// MLX's prelude opens namespace metal for every kernel.
using namespace metal;

#define device
#define constant
#define thread
#define threadgroup
#define kernel
#define METAL_FUNC inline __attribute__((always_inline))
#define __METAL__ 1
#define __METAL_VERSION__ 310
