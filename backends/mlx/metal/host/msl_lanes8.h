// Eight floats at once: rows and columns of 8x8 matrices.
#pragma once

#include "msl_scalar.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace msl {

typedef float float8 __attribute__((vector_size(32)));

MSL_FN float8 fused(float8 a, float8 b, float8 c) {
#if defined(__FMA__)
    return float8(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
#else
    float8 r;
    for (int i = 0; i < 8; ++i) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return r;
#endif
}

MSL_FN float sum_of(float8 v) {
    typedef float float4 __attribute__((vector_size(16)));
    const float4 four =
        __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
    return (four[0] + four[2]) + (four[1] + four[3]);
}

// Eight elements, `step` apart.
template <typename T>
MSL_FN float8 load8(const T* from, size_t step) {
    float8 r;
    for (size_t i = 0; i < 8; ++i) r[i] = float(from[i * step]);
    return r;
}

// Eight neighbours.
MSL_FN float8 load8(const float* from) {
    float8 r;
    __builtin_memcpy(&r, from, sizeof r);
    return r;
}
MSL_FN float8 load8(const bfloat* from) {
    typedef uint16_t bits8 __attribute__((vector_size(16)));
    typedef uint32_t words8 __attribute__((vector_size(32)));
    bits8 bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    return float8(__builtin_convertvector(bits, words8) << 16);
}
MSL_FN float8 load8(const half* from) {
#if defined(__F16C__)
    __m128i bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    return float8(_mm256_cvtph_ps(bits));
#else
    return load8(from, 1);
#endif
}

}  // namespace msl
