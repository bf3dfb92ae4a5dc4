// What every kernel shares: loads of activations, small numbers, optional bias.
#pragma once
#include <metal_stdlib>
#include <metal_simdgroup>
#include <metal_simdgroup_matrix>
using namespace metal;

#define GGUF_UNROLL _Pragma("clang loop unroll(full)")

namespace gguf {

// A row of activations may start at any element (a view of a larger buffer), so
// its loads are packed: they need the alignment of one element only.
template <typename T> struct Activation;

// Half stays half: as the operand of a float FMA it costs nothing on Apple GPUs.
template <> struct Activation<half> {
    typedef half Staged;
    static void load4(device const half* p, thread half* v) {
        const half4 t = half4(*(device const packed_half4*)p);
        v[0] = t.x;
        v[1] = t.y;
        v[2] = t.z;
        v[3] = t.w;
    }
};

template <> struct Activation<float> {
    typedef float Staged;
    static void load4(device const float* p, thread float* v) {
        const float4 t = float4(*(device const packed_float4*)p);
        v[0] = t.x;
        v[1] = t.y;
        v[2] = t.z;
        v[3] = t.w;
    }
};

// A bfloat is the high half of a float: widened by one bit operation, no conversion.
template <> struct Activation<bfloat> {
    typedef float Staged;
    static void load4(device const bfloat* p, thread float* v) {
        const uint2 t = as_type<uint2>(ushort4(*(device const packed_ushort4*)p));
        v[0] = as_type<float>(t.x << 16);
        v[1] = as_type<float>(t.x & 0xFFFF0000u);
        v[2] = as_type<float>(t.y << 16);
        v[3] = as_type<float>(t.y & 0xFFFF0000u);
    }
};

template <typename T> inline void load4(device const T* p, thread float* v) {
    typename Activation<T>::Staged s[4];
    Activation<T>::load4(p, s);
    GGUF_UNROLL for (int i = 0; i < 4; ++i) v[i] = (float)s[i];
}

template <typename T> inline void load8(device const T* p,
                                        thread typename Activation<T>::Staged* v) {
    Activation<T>::load4(p, v);
    Activation<T>::load4(p + 4, v + 4);
}

// The products of two pairs of weights with x[0] and x[2], in two chains.
template <typename X> inline void dot2(half2 l, thread const X* xl, half2 h, thread const X* xh,
                                       thread float& a, thread float& b) {
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
