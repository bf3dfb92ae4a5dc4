// Operands of 8x8 matrix products, in the type of x: half, bfloat or float.
//
// Activations are never narrowed, and quants are small integers, which each of the types holds
// exactly. So the products of half and bfloat activations are exact, before they are summed as
// floats; that of a float activation is rounded as every product of floats. An integer q below
// 2^BITS becomes the number 2^BITS + q by placing its bits in the mantissa of a half or a bfloat,
// no conversion (see mantissa.h); the 2^BITS leaves with the sum of x, as the minima do.
#pragma once
#include "mantissa.h"

namespace gguf {

template <typename T>
struct Operand;

template <>
struct Operand<half> {
    typedef half2 Pair;

    enum : uint { MANTISSA = 10, BIAS = 15 };

    static Pair from_bits(uint bits) { return as_type<half2>(bits); }
    // Two numbers of at most 8 significant bits.
    static Pair exact(half first, half second) { return half2(first, second); }
    static Pair join(half first, half second) { return half2(first, second); }
    static half first(Pair p) { return p.x; }
    static half second(Pair p) { return p.y; }

    static void load4(device const half* p, thread half* v) {
        const half4 t = half4(*(device const packed_half4*)p);
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) v[i] = t[i];
    }
};

template <>
struct Operand<bfloat> {
    typedef bfloat2 Pair;

    enum : uint { MANTISSA = 7, BIAS = 127 };

    static Pair from_bits(uint bits) { return as_type<bfloat2>(bits); }
    static Pair exact(half first, half second) {
        // Cutting a float off after 8 bits loses none of them.
        const ushort a = as_type<ushort2>((float)first).y, b = as_type<ushort2>((float)second).y;
        return as_type<bfloat2>(ushort2(a, b));
    }
    static Pair join(bfloat first, bfloat second) {
        return as_type<bfloat2>(ushort2(as_type<ushort>(first), as_type<ushort>(second)));
    }
    static bfloat first(Pair p) { return as_type<bfloat>(as_type<ushort2>(p).x); }
    static bfloat second(Pair p) { return as_type<bfloat>(as_type<ushort2>(p).y); }

    static void load4(device const bfloat* p, thread bfloat* v) {
        const ushort4 t = ushort4(*(device const packed_ushort4*)p);
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) v[i] = as_type<bfloat>((ushort)t[i]);
    }
};

template <>
struct Operand<float> {
    typedef float2 Pair;

    enum : uint { MANTISSA = 10, BIAS = 15 };  // by way of halves

    static Pair from_bits(uint bits) {
        const half2 p = as_type<half2>(bits);
        return float2((float)p.x, (float)p.y);
    }
    static Pair exact(half first, half second) { return float2((float)first, (float)second); }
    static Pair join(float first, float second) { return float2(first, second); }
    static float first(Pair p) { return p.x; }
    static float second(Pair p) { return p.y; }

    static void load4(device const float* p, thread float* v) {
        const float4 t = float4(*(device const packed_float4*)p);
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) v[i] = t[i];
    }
};

// Moves the COUNT bits from bit `word_bit` on, of both halves of a word, to bit `quant_bit` of a
// quant, where X has it in the mantissa of 2^BITS + q. Both are known when compiled: one shift.
template <typename X, uint BITS, uint COUNT>
inline uint field(uint word, uint word_bit, uint quant_bit = 0) {
    static_assert(COUNT <= BITS && BITS <= X::MANTISSA, "a quant fits a mantissa");
    const uint bit = X::MANTISSA - BITS + quant_bit;
    const uint moved = word_bit <= bit ? word << (bit - word_bit) : word >> (word_bit - bit);
    return moved & ((1u << COUNT) - 1) * 0x00010001u << bit;
}

// A pair of numbers 2^BITS + q, from the fields of q.
template <typename X, uint BITS>
inline typename X::Pair pair(uint fields) {
    return X::from_bits(fields | ((X::BIAS + BITS) << X::MANTISSA) * 0x00010001u);
}

// COUNT activations: 2, or a multiple of 4.
template <uint COUNT, typename T>
inline void load(device const T* p, thread T* v) {
    static_assert(COUNT == 2 || COUNT % 4 == 0, "load: 2 activations, or a multiple of 4");
    if (COUNT % 4 == 0) {
        GGUF_UNROLL
        for (uint i = 0; i < COUNT / 4; ++i) Operand<T>::load4(p + 4 * i, v + 4 * i);
    } else {
        GGUF_UNROLL
        for (uint i = 0; i < COUNT; ++i) v[i] = p[i];
    }
}

// The sum of COUNT activations, a multiple of 8. WIDE: `p` is aligned to 16 bytes.
template <uint COUNT, bool WIDE, typename T>
inline float sum_of(device const T* p) {
    static_assert(COUNT % 8 == 0, "sum_of: a multiple of 8 activations");
    float total = 0.0f;
    GGUF_UNROLL
    for (uint i = 0; i < COUNT; i += 8) {
        typename Activation<T>::Staged v[8];
        load8<WIDE>(p + i, v);
        total += (((float)v[0] + (float)v[1]) + ((float)v[2] + (float)v[3])) +
                 (((float)v[4] + (float)v[5]) + ((float)v[6] + (float)v[7]));
    }
    return total;
}

}  // namespace gguf
