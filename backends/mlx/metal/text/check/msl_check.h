// Metal Shading Language for clang's C++ for OpenCL, for the address-space check: the same types
// as on the host, declarations only for what runs, and Metal's four address spaces.
#pragma once
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

#define MSL_CHECK 1
#define MSL_CONSTANT __constant
#define MSL_FN inline

#include "../../host/msl_math.h"

namespace msl {
template <typename T>
using operand = std::enable_if_t<true, T>;
}  // namespace msl

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
mem_flags operator|(mem_flags a, mem_flags b);
void threadgroup_barrier(mem_flags flags);
void simdgroup_barrier(mem_flags flags);

#define MSL_SIMD(name)    \
    template <typename T> \
    T name(T value);
MSL_SIMD(simd_sum)
MSL_SIMD(simd_product)
MSL_SIMD(simd_max)
MSL_SIMD(simd_min)
MSL_SIMD(simd_and)
MSL_SIMD(simd_or)
MSL_SIMD(simd_xor)
MSL_SIMD(simd_prefix_inclusive_sum)
MSL_SIMD(simd_prefix_exclusive_sum)
MSL_SIMD(simd_broadcast_first)
MSL_SIMD(quad_sum)
#undef MSL_SIMD
#define MSL_SIMD(name)    \
    template <typename T> \
    T name(T value, ushort lane);
MSL_SIMD(simd_shuffle)
MSL_SIMD(simd_broadcast)
MSL_SIMD(simd_shuffle_xor)
MSL_SIMD(simd_shuffle_down)
MSL_SIMD(simd_shuffle_up)
MSL_SIMD(quad_shuffle_xor)
MSL_SIMD(quad_broadcast)
#undef MSL_SIMD
bool simd_any(bool value);
bool simd_all(bool value);
bool simd_is_first();

template <typename T, int Rows, int Cols>
struct simdgroup_matrix {
    static_assert(Rows == 8 && Cols == 8, "Metal has 8x8 simdgroup matrices only");
    vec<T, 2> elements;
    simdgroup_matrix() = default;
    explicit simdgroup_matrix(T diagonal);
    __private vec<T, 2>& thread_elements() __private;
    const __private vec<T, 2>& thread_elements() const __private;
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <typename T, int Rows, int Cols = Rows>
simdgroup_matrix<T, Rows, Cols> make_filled_simdgroup_matrix(T value);
#define MSL_MATRIX_MEMORY(space)                                                        \
    template <typename T>                                                               \
    void simdgroup_load(__private simdgroup_matrix<T, 8, 8>& m, const space T* memory,  \
                        ulong stride = 8, vec<ulong, 2> origin = vec<ulong, 2>(0ul),    \
                        bool transpose = false);                                        \
    template <typename T>                                                               \
    void simdgroup_store(const __private simdgroup_matrix<T, 8, 8>& m, space T* memory, \
                         ulong stride = 8, vec<ulong, 2> origin = vec<ulong, 2>(0ul),   \
                         bool transpose = false);
MSL_MATRIX_MEMORY(__global)
MSL_MATRIX_MEMORY(__local)
#undef MSL_MATRIX_MEMORY
template <typename D, typename A, typename B, typename C>
void simdgroup_multiply_accumulate(__private simdgroup_matrix<D, 8, 8>& d,
                                   const __private simdgroup_matrix<A, 8, 8>& a,
                                   const __private simdgroup_matrix<B, 8, 8>& b,
                                   const __private simdgroup_matrix<C, 8, 8>& c);
template <typename D, typename A, typename B>
void simdgroup_multiply(__private simdgroup_matrix<D, 8, 8>& d,
                        const __private simdgroup_matrix<A, 8, 8>& a,
                        const __private simdgroup_matrix<B, 8, 8>& b);

enum memory_order { memory_order_relaxed };
template <typename T>
struct atomic {
    T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;
#define MSL_ATOMIC_FETCH(space, name) \
    template <typename T>             \
    T atomic_fetch_##name##_explicit(space atomic<T>* object, msl::operand<T>, memory_order);
#define MSL_ATOMIC(space)                                                                      \
    template <typename T>                                                                      \
    T atomic_load_explicit(const space atomic<T>* object, memory_order);                       \
    template <typename T>                                                                      \
    void atomic_store_explicit(space atomic<T>* object, msl::operand<T> value, memory_order);  \
    template <typename T>                                                                      \
    T atomic_exchange_explicit(space atomic<T>* object, msl::operand<T> value, memory_order);  \
    template <typename T>                                                                      \
    bool atomic_compare_exchange_weak_explicit(space atomic<T>* object, __private T* expected, \
                                               msl::operand<T> desired, memory_order,          \
                                               memory_order);                                  \
    MSL_ATOMIC_FETCH(space, add)                                                               \
    MSL_ATOMIC_FETCH(space, sub)                                                               \
    MSL_ATOMIC_FETCH(space, min)                                                               \
    MSL_ATOMIC_FETCH(space, max)                                                               \
    MSL_ATOMIC_FETCH(space, and)                                                               \
    MSL_ATOMIC_FETCH(space, or)                                                                \
    MSL_ATOMIC_FETCH(space, xor)
MSL_ATOMIC(__global)
MSL_ATOMIC(__local)
#undef MSL_ATOMIC
#undef MSL_ATOMIC_FETCH

}  // namespace metal

// What a `threadgroup T name[N];` declaration refers to; see host_source.py.
__local void* msl_threadgroup();

using namespace metal;

#define device __global
#define constant __constant
#define threadgroup __local
#define thread __private
#define kernel msl_kernel
// Words of OpenCL that are plain names in Metal.
#define global msl_global
#define local msl_local
#define generic msl_generic
#define METAL_FUNC inline
#define __METAL__ 1
#define __METAL_VERSION__ 310
