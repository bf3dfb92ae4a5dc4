// Metal's half for nvcc, whose device code has no _Float16: every operation rounds to half. And
// the rounding of bfloat.
//
// CUDA's own __half would not do: it converts to and from float implicitly, which makes
// `half * float` ambiguous. Here the operand types choose: half with half or an integer is half,
// half with float is float, as in Metal.
#pragma once

#define CUDA_NO_HALF  // leaves the names half and half2 to Metal
#include <cuda_fp16.h>

#include <type_traits>

// The bits of the half `value`, an integer below 2048: for tables, which are made when compiled.
MSL_FN constexpr unsigned short msl_half_of_integer(int value) {
    int mantissa = value < 0 ? -value : value, exponent = 25;
    if (mantissa == 0) return 0;
    for (; mantissa < 1024; mantissa *= 2) --exponent;
    return (unsigned short)((value < 0 ? 0x8000 : 0) | exponent << 10 | (mantissa - 1024));
}

struct msl_half {
    unsigned short bits;

    msl_half() = default;
    template <typename T, std::enable_if_t<std::is_arithmetic<T>::value, int> = 0>
    MSL_FN constexpr msl_half(T value)
        : bits(__builtin_is_constant_evaluated() && value > T(-2048) && value < T(2048) &&
                       T(int(value)) == value
                   ? msl_half_of_integer(int(value))
                   : __half_as_ushort(__float2half_rn(float(value)))) {}
    template <typename T, std::enable_if_t<std::is_class<T>::value, int> = 0, typename = void>
    MSL_FN explicit msl_half(const T& value) : msl_half(__float2half_rn(float(value))) {}
    MSL_FN msl_half(__half value) : bits(__half_as_ushort(value)) {}

    MSL_FN __half native() const { return __ushort_as_half(bits); }
    MSL_FN operator float() const { return __half2float(native()); }
};

#define MSL_HALF_OPERATOR(op, function)                                          \
    MSL_FN msl_half operator op(msl_half a, msl_half b) {                        \
        return function(a.native(), b.native());                                 \
    }                                                                            \
    template <typename T, std::enable_if_t<std::is_integral<T>::value, int> = 0> \
    MSL_FN msl_half operator op(msl_half a, T b) {                               \
        return a op msl_half(b);                                                 \
    }                                                                            \
    template <typename T, std::enable_if_t<std::is_integral<T>::value, int> = 0> \
    MSL_FN msl_half operator op(T a, msl_half b) {                               \
        return msl_half(a) op b;                                                 \
    }                                                                            \
    MSL_FN float operator op(msl_half a, float b) { return float(a) op b; }      \
    MSL_FN float operator op(float a, msl_half b) { return a op float(b); }      \
    template <typename T>                                                        \
    MSL_FN msl_half& operator op## = (msl_half & a, T b) {                       \
        return a = msl_half(a op b);                                             \
    }
MSL_HALF_OPERATOR(+, __hadd)
MSL_HALF_OPERATOR(-, __hsub)
MSL_HALF_OPERATOR(*, __hmul)
MSL_HALF_OPERATOR(/, __hdiv)
#undef MSL_HALF_OPERATOR
MSL_FN msl_half operator-(msl_half a) { return __hneg(a.native()); }
// Metal's suffix, which has no underscore; a literal is a double on the GPU.
#pragma nv_diag_suppress 2506, 20208
MSL_FN msl_half operator""h(long double value) { return msl_half(float(value)); }
#define MSL_HALF_FMA(a, b, c) msl_half(__hfma(a.native(), b.native(), c.native()))

MSL_FN unsigned short msl_round_to_bfloat(float value) {
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#define MSL_ROUND_TO_BFLOAT(value) msl_round_to_bfloat(value)
