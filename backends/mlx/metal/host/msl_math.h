// Functions of <metal_math>, <metal_common>, <metal_integer> and <metal_limits>.
#pragma once

#include "msl_vector.h"

namespace msl {
template <typename T>
using if_integer = std::enable_if_t<is_integer<T>, int>;
template <typename T>
using if_scalar = std::enable_if_t<is_scalar<T>, int>;
}  // namespace msl

namespace metal {

using std::bool_constant;
using std::conditional;
using std::conditional_t;
using std::enable_if;
using std::enable_if_t;
using std::integral_constant;
using std::is_floating_point;
using std::is_integral;
using std::is_same;
using std::is_same_v;
using std::remove_cv_t;
using std::remove_reference_t;

// Float functions on float, half, bfloat and vectors; the small types compute in float and round.
#define MSL_UNARY(name, function)                                       \
    MSL_FN float name(float x) { return function(x); }                  \
    MSL_FN half name(half x) { return half(function(float(x))); }       \
    MSL_FN bfloat name(bfloat x) { return bfloat(function(float(x))); } \
    template <typename T, int N>                                        \
    MSL_FN vec<T, N> name(const vec<T, N>& x) {                         \
        vec<T, N> r;                                                    \
        for (int i = 0; i < N; ++i) r.d[i] = name(x.d[i]);              \
        return r;                                                       \
    }
#define MSL_UNARY_FUNCTIONS  \
    MSL_UNARY(exp, ::expf)   \
    MSL_UNARY(exp2, ::exp2f) \
    MSL_UNARY(log, ::logf)   \
    MSL_UNARY(log2, ::log2f) \
    MSL_UNARY(sqrt, ::sqrtf) \
    MSL_UNARY(sin, ::sinf)   \
    MSL_UNARY(cos, ::cosf)   \
    MSL_UNARY(tanh, ::tanhf) \
    MSL_UNARY(rsqrt, 1.0f / ::sqrtf)
MSL_UNARY_FUNCTIONS
MSL_UNARY(fabs, ::fabsf)
MSL_UNARY(floor, ::floorf)
MSL_UNARY(ceil, ::ceilf)
MSL_UNARY(trunc, ::truncf)
MSL_UNARY(rint, ::rintf)
MSL_UNARY(round, ::roundf)
MSL_UNARY(erf, ::erff)
namespace precise {
MSL_UNARY_FUNCTIONS
}
namespace fast {
MSL_UNARY_FUNCTIONS
}
#undef MSL_UNARY_FUNCTIONS
#undef MSL_UNARY

MSL_FN float pow(float x, float y) { return ::powf(x, y); }
MSL_FN float fmod(float x, float y) { return ::fmodf(x, y); }
MSL_FN float ldexp(float x, int e) { return ::ldexpf(x, e); }
MSL_FN bool isnan(float x) { return __builtin_isnan(x); }
MSL_FN bool isinf(float x) { return __builtin_isinf(x); }
MSL_FN bool isfinite(float x) { return __builtin_isfinite(x); }

MSL_FN float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#ifdef MSL_CHECK
half fma(half a, half b, half c);
#elif defined(MSL_HALF_FMA)
MSL_FN half fma(half a, half b, half c) { return MSL_HALF_FMA(a, b, c); }
#else
// The product of two halves is exact in float, the sum in double; it is rounded once.
MSL_FN half fma(half a, half b, half c) { return half(double(float(a) * float(b)) + double(c)); }
#endif
template <typename T, int N>
MSL_FN vec<T, N> fma(const vec<T, N>& a, const vec<T, N>& b, const vec<T, N>& c) {
    vec<T, N> r;
    for (int i = 0; i < N; ++i) r.d[i] = fma(a.d[i], b.d[i], c.d[i]);
    return r;
}

#define MSL_BINARY(name, expression)                                \
    template <typename T, msl::if_scalar<T> = 0>                    \
    MSL_FN T name(T a, T b) {                                       \
        return expression;                                          \
    }                                                               \
    template <typename T, int N>                                    \
    MSL_FN vec<T, N> name(const vec<T, N>& a, const vec<T, N>& b) { \
        vec<T, N> r;                                                \
        for (int i = 0; i < N; ++i) r.d[i] = name(a.d[i], b.d[i]);  \
        return r;                                                   \
    }
MSL_BINARY(min, b < a ? b : a)
MSL_BINARY(max, a < b ? b : a)
MSL_BINARY(fmin, b < a ? b : a)
MSL_BINARY(fmax, a < b ? b : a)
#undef MSL_BINARY
template <typename T>
MSL_FN T clamp(T x, T low, T high) {
    return min(max(x, low), high);
}
template <typename T, msl::if_scalar<T> = 0>
MSL_FN T abs(T x) {
    return x < T(0) ? T(-x) : x;
}
template <typename T, int N>
MSL_FN vec<T, N> abs(const vec<T, N>& x) {
    vec<T, N> r;
    for (int i = 0; i < N; ++i) r.d[i] = abs(x.d[i]);
    return r;
}
template <typename T, msl::if_scalar<T> = 0>
MSL_FN T select(T a, T b, bool condition) {
    return condition ? b : a;
}
template <typename T, int N>
MSL_FN vec<T, N> select(const vec<T, N>& a, const vec<T, N>& b, const vec<bool, N>& condition) {
    vec<T, N> r;
    for (int i = 0; i < N; ++i) r.d[i] = condition.d[i] ? b.d[i] : a.d[i];
    return r;
}
template <int N>
MSL_FN bool any(const vec<bool, N>& x) {
    bool r = false;
    for (int i = 0; i < N; ++i) r |= x.d[i];
    return r;
}
template <int N>
MSL_FN bool all(const vec<bool, N>& x) {
    bool r = true;
    for (int i = 0; i < N; ++i) r &= x.d[i];
    return r;
}

template <typename T, msl::if_integer<T> = 0>
MSL_FN T extract_bits(T x, uint offset, uint bits) {
    if (bits == 0) return T(0);
    const uint spare = sizeof(T) * 8 - bits;
    return T(T(std::make_unsigned_t<T>(x) << (spare - offset)) >> spare);
}
template <typename T, msl::if_integer<T> = 0>
MSL_FN T popcount(T x) {
    return T(__builtin_popcountll(std::make_unsigned_t<T>(x)));
}
template <typename T, msl::if_integer<T> = 0>
MSL_FN T clz(T x) {
    return x ? T(__builtin_clzll(std::make_unsigned_t<T>(x)) - (64 - 8 * int(sizeof(T))))
             : T(8 * sizeof(T));
}
template <typename T, msl::if_integer<T> = 0>
MSL_FN T ctz(T x) {
    return x ? T(__builtin_ctzll(std::make_unsigned_t<T>(x))) : T(8 * sizeof(T));
}
MSL_FN uint mulhi(uint a, uint b) { return uint((ulong(a) * b) >> 32); }
MSL_FN int mulhi(int a, int b) { return int((long(a) * b) >> 32); }

template <typename T>
struct numeric_limits : std::numeric_limits<T> {};
template <>
struct numeric_limits<half> {
    static MSL_FN half max() { return half(65504.0f); }
    static MSL_FN half lowest() { return half(-65504.0f); }
    static MSL_FN half min() { return half(6.103515625e-05f); }
    static MSL_FN half infinity() { return half(__builtin_inff()); }
    static MSL_FN half quiet_NaN() { return half(__builtin_nanf("")); }
};
template <>
struct numeric_limits<bfloat> {
    static MSL_FN bfloat max() { return bfloat::from_bits(0x7f7f); }
    static MSL_FN bfloat lowest() { return bfloat::from_bits(0xff7f); }
    static MSL_FN bfloat min() { return bfloat::from_bits(0x0080); }
    static MSL_FN bfloat infinity() { return bfloat::from_bits(0x7f80); }
    static MSL_FN bfloat quiet_NaN() { return bfloat::from_bits(0x7fc0); }
};

}  // namespace metal
