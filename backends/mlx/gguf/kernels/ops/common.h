// What every kernel shares: the weight, the thread, loads of activations, optional bias.
#pragma once
#include <metal_stdlib>
#include <metal_simdgroup>
#include <metal_simdgroup_matrix>
using namespace metal;

#define GGUF_UNROLL _Pragma("clang loop unroll(full)")

// Where a field of a format's Block begins, in bytes. Metal's specification names no offsetof.
#define GGUF_OFFSET(field) __builtin_offsetof(Block, field)

namespace gguf {

// A matrix of blocks: n_rows rows of row_bytes bytes each, one after another.
struct Weight {
    device const uchar* blocks;
    uint n_rows, row_bytes;

    device const uchar* row(ulong n) const { return blocks + n * row_bytes; }
};

// Weights of a row.
template <typename F>
inline uint columns_of(Weight weight) {
    return weight.row_bytes / F::BYTES * F::WEIGHTS;
}

// Which thread this is: of which threadgroup of the grid, and there of which simdgroup which lane.
struct Thread {
    uint3 group;
    uint index, simdgroup, lane;  // index: in the threadgroup
};

// Loads of eight or four neighbours of a row of x, as operands of float FMAs. A row may
// start at any element (a view of a larger buffer): its loads are packed, which needs the
// alignment of one element only. Wide loads move 16 bytes at once where that many are aligned.
template <typename T>
struct Activation;

inline bool aligned16(device const void* p) { return ((ulong)p & 15) == 0; }

// Half stays half: as the operand of a float FMA it costs nothing on Apple GPUs.
template <>
struct Activation<half> {
    typedef half Staged;
    static void load4(device const half* p, thread half* v) {
        const half4 t = half4(*(device const packed_half4*)p);
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) v[i] = t[i];
    }
    static void load8_wide(device const half* p, thread half* v) {
        const uint4 t = *(device const uint4*)p;
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) {
            const half2 h = as_type<half2>((uint)t[i]);
            v[2 * i] = h.x;
            v[2 * i + 1] = h.y;
        }
    }
};

template <>
struct Activation<float> {
    typedef float Staged;
    static void load4(device const float* p, thread float* v) {
        const float4 t = float4(*(device const packed_float4*)p);
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) v[i] = t[i];
    }
    static void load8_wide(device const float* p, thread float* v) {
        load4(p, v);
        load4(p + 4, v + 4);
    }
};

// A bfloat is the high half of a float: widened by one bit operation, no conversion.
template <>
struct Activation<bfloat> {
    typedef float Staged;
    static void widen(uint t, thread float* v) {
        v[0] = as_type<float>(t << 16);
        v[1] = as_type<float>(t & 0xFFFF0000u);
    }
    static void load4(device const bfloat* p, thread float* v) {
        const uint2 t = as_type<uint2>(ushort4(*(device const packed_ushort4*)p));
        widen(t.x, v);
        widen(t.y, v + 2);
    }
    static void load8_wide(device const bfloat* p, thread float* v) {
        const uint4 t = *(device const uint4*)p;
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) widen((uint)t[i], v + 2 * i);
    }
};

// WIDE: `p` is aligned to 16 bytes.
template <bool WIDE, typename T>
inline void load8(device const T* p, thread typename Activation<T>::Staged* v) {
    if (WIDE) {
        Activation<T>::load8_wide(p, v);
    } else {
        Activation<T>::load4(p, v);
        Activation<T>::load4(p + 4, v + 4);
    }
}

// Two runs of eight activations, the second APART elements after the first. Returns their sum.
template <bool WIDE, uint APART, typename T>
inline float load16(device const T* p, thread typename Activation<T>::Staged* v) {
    load8<WIDE>(p, v);
    load8<WIDE>(p + APART, v + 8);
    float total = (float)v[0];
    GGUF_UNROLL
    for (uint i = 1; i < 16; ++i) total += (float)v[i];
    return total;
}

// Four bytes, each in a half word of its own: neighbours in one word. Apple GPUs widen what they
// load, so this costs nothing; shifts and masks would.
inline uint2 bytes_apart(device const ushort* p) {
#ifdef MSL_BYTES_APART  // compiled for another GPU, to measure there (backends/mlx/metal/cuda)
    return MSL_BYTES_APART(p[0], p[1]);
#else
    return as_type<uint2>(ushort4(uchar4(*(device const packed_uchar4*)p)));
#endif
}

// The products of two pairs of weights with x[0] and x[2], in two chains.
template <typename X>
inline void dot2(half2 l, thread const X* xl, half2 h, thread const X* xh, thread float& a,
                 thread float& b) {
    a = fma((float)xl[0], (float)l.x, a);
    b = fma((float)xh[0], (float)h.x, b);
    a = fma((float)xl[2], (float)l.y, a);
    b = fma((float)xh[2], (float)h.y, b);
}

// The product of all dimensions but the last: rows of x, as MLX passes its shape.
inline uint leading_rows(const constant int* shape, int ndim) {
    uint rows = 1;
    for (int i = 0; i + 1 < ndim; ++i) rows *= (uint)shape[i];
    return rows;
}

// Stands in for the bias pointer of a linear without bias.
struct NoBias {
    float operator[](uint) const { return 0.0f; }
};

}  // namespace gguf
