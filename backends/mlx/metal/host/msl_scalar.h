// Scalar types of the Metal Shading Language: the integer names, half and bfloat.
//
// Shared by everything that reads Metal sources as C++: the host runtime, the address-space check
// (clang's C++ for OpenCL, where MSL_CHECK is set), and nvcc behind a thin shim. Nothing here
// knows how threads run.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#ifndef MSL_FN
#define MSL_FN inline __attribute__((always_inline))
#endif
// The address space of constants at namespace scope, where the compiler has address spaces.
#ifndef MSL_CONSTANT
#define MSL_CONSTANT
#endif

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

// The compiler's own 16-bit float: like Metal's, every operation rounds, and it converts to and
// from float without a cast.
#ifndef MSL_HALF
#define MSL_HALF _Float16
#endif
#ifndef MSL_CHECK  // C++ for OpenCL has the type and the suffix
typedef MSL_HALF half;
#ifndef __CUDACC__  // whose half is a class without constant expressions
MSL_FN constexpr half operator""h(long double value) { return half(value); }
#endif
#endif

// Metal's bfloat: arithmetic rounds to bfloat after each operation, a float operand promotes, and
// only integers convert to it implicitly.
struct bfloat {
    uint16_t bits;

    bfloat() = default;
    template <typename T, std::enable_if_t<!std::is_integral<T>::value, int> = 0>
    MSL_FN explicit bfloat(T value) : bits(round_to_bits(float(value))) {}
    template <typename T, std::enable_if_t<std::is_integral<T>::value, int> = 0, typename = void>
    MSL_FN bfloat(T value) : bits(round_to_bits(float(value))) {}

    MSL_FN operator float() const { return __builtin_bit_cast(float, uint32_t(bits) << 16); }
#ifdef MSL_CHECK  // an unqualified member function does not see the constant address space
    bfloat(const bfloat&) = default;
    bfloat(const __constant bfloat& from);
    operator float() const __constant;
#endif

    static MSL_FN bfloat from_bits(uint16_t bits) {
        bfloat value;
        value.bits = bits;
        return value;
    }

  private:
    // Round to nearest, ties to even; a NaN stays a NaN.
    static MSL_FN uint16_t round_to_bits(float value) {
#ifdef MSL_ROUND_TO_BFLOAT  // where an instruction does it
        return MSL_ROUND_TO_BFLOAT(value);
#else
        const uint32_t word = __builtin_bit_cast(uint32_t, value);
        if ((word & 0x7fffffffu) > 0x7f800000u) return uint16_t((word >> 16) | 0x40);
        return uint16_t((word + 0x7fffu + ((word >> 16) & 1)) >> 16);
#endif
    }
};

namespace msl {
template <typename T>
MSL_CONSTANT constexpr bool is_integer = std::is_integral<T>::value;
template <typename T>
MSL_CONSTANT constexpr bool is_scalar =
    std::is_arithmetic<T>::value || std::is_same<T, half>::value || std::is_same<T, bfloat>::value;
// Half is a builtin, but the standard library does not call it arithmetic.
template <typename T>
MSL_CONSTANT constexpr bool is_float_like =
    std::is_floating_point<T>::value || std::is_same<T, half>::value;
}  // namespace msl

#define MSL_BFLOAT_OPERATOR(op)                                                            \
    MSL_FN bfloat operator op(bfloat a, bfloat b) { return bfloat(float(a) op float(b)); } \
    template <typename T, std::enable_if_t<msl::is_integer<T>, int> = 0>                   \
    MSL_FN bfloat operator op(bfloat a, T b) {                                             \
        return bfloat(float(a) op float(bfloat(b)));                                       \
    }                                                                                      \
    template <typename T, std::enable_if_t<msl::is_integer<T>, int> = 0>                   \
    MSL_FN bfloat operator op(T a, bfloat b) {                                             \
        return bfloat(float(bfloat(a)) op float(b));                                       \
    }                                                                                      \
    template <typename T, std::enable_if_t<msl::is_float_like<T>, int> = 0>                \
    MSL_FN float operator op(bfloat a, T b) {                                              \
        return float(a) op float(b);                                                       \
    }                                                                                      \
    template <typename T, std::enable_if_t<msl::is_float_like<T>, int> = 0>                \
    MSL_FN float operator op(T a, bfloat b) {                                              \
        return float(a) op float(b);                                                       \
    }                                                                                      \
    template <typename T>                                                                  \
    MSL_FN bfloat& operator op## = (bfloat & a, T b) {                                     \
        return a = bfloat(float(a) op float(b));                                           \
    }
MSL_BFLOAT_OPERATOR(+)
MSL_BFLOAT_OPERATOR(-)
MSL_BFLOAT_OPERATOR(*)
MSL_BFLOAT_OPERATOR(/)
#undef MSL_BFLOAT_OPERATOR

MSL_FN bfloat operator-(bfloat a) { return bfloat::from_bits(a.bits ^ 0x8000u); }

// Names MLX's prelude gives the element types of arrays.
typedef half float16_t;
typedef bfloat bfloat16_t;
struct complex64_t {
    float real;
    float imag;
};

// A copy of the bits.
template <typename To, typename From>
MSL_FN To as_type(From from) {
    static_assert(sizeof(To) == sizeof(From), "as_type: the sizes differ");
    To to;
#ifndef MSL_CHECK
    __builtin_memcpy(static_cast<void*>(&to), &from, sizeof to);
#endif
    return to;
}
