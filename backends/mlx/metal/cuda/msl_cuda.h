// Metal Shading Language as CUDA: included before the text of a kernel (cuda_source.py).
//
// The types are the host runtime's (../host); only how threads run and how vectors move differs.
#pragma once

#include <cuda_runtime.h>

#define MSL_FN __device__ __forceinline__
#include "msl_half.h"
#define MSL_HALF msl_half
#include "msl_copy.h"

// CUDA has types of these names, of another kind. Every later use means Metal's.
#define char2 msl_char2
#define char3 msl_char3
#define char4 msl_char4
#define uchar2 msl_uchar2
#define uchar3 msl_uchar3
#define uchar4 msl_uchar4
#define short2 msl_short2
#define short3 msl_short3
#define short4 msl_short4
#define ushort2 msl_ushort2
#define ushort3 msl_ushort3
#define ushort4 msl_ushort4
#define int2 msl_int2
#define int3 msl_int3
#define int4 msl_int4
#define uint2 msl_uint2
#define uint3 msl_uint3
#define uint4 msl_uint4
#define long2 msl_long2
#define long3 msl_long3
#define long4 msl_long4
#define ulong2 msl_ulong2
#define ulong3 msl_ulong3
#define ulong4 msl_ulong4
#define float2 msl_float2
#define float3 msl_float3
#define float4 msl_float4

#include "msl_math.h"
#include "msl_warp.h"

namespace msl {

// Shapes, strides and scalars travel as kernel parameters, as Metal's constant buffers do: no
// trip to memory before the first instruction.
template <typename T>
struct by_value {
    T values[8];
};

MSL_FN uint thread_index() {
    return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
template <typename Position>
MSL_FN metal::vec<uint, 3> position(Position p) {
    return metal::vec<uint, 3>(p.x, p.y, p.z);
}

}  // namespace msl

// Two neighbours in the bytes of two 16-bit words each, see bytes_apart of the kernels.
#define MSL_BYTES_APART(low, high) \
    metal::vec<uint, 2>(__byte_perm(low, 0, 0x4140), __byte_perm(high, 0, 0x4140))

// What functions.py puts before every function and every table of a kernel's text. A table is
// read at as many places as there are lanes: not __constant__, which serves one at a time.
#define MSL_TEXT_FN __device__ __attribute__((always_inline))
#define MSL_TEXT_TABLE __device__
#define METAL_FUNC inline __device__
#define __METAL__ 1
#define __METAL_VERSION__ 310
