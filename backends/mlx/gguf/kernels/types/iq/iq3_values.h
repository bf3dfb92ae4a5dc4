// What IQ3_S and IQ3_XXS share: grid entries of 4 numbers n of 4 bits, each below 8.
//
// A format F gives FIRST and STEP: n stands for FIRST + STEP n, or what F::value makes of that.
#pragma once
#include "../signs.h"

namespace gguf {

// The values of two entries of 16 bits each, without signs: v[k] are those of weights k and k + 4.
template <typename F>
inline void iq3_values8(uint entries, thread half2* v) {
    // Of 1024 + n, and of 1024 + 16 n.
    constexpr float STEP_1 = F::STEP, START_1 = F::FIRST - 1024.0f * F::STEP;
    constexpr float STEP_16 = F::STEP / 16.0f, START_16 = F::FIRST - 64.0f * F::STEP;
    GGUF_UNROLL
    for (uint k = 0; k < 4; k += 2) {
        // At bits 0 and 4 of mantissas.
        const uint numbers = entries >> 4 * k;
        const half2 a = above_1024(numbers & 0x00070007u), b = above_1024(numbers & 0x00700070u);
        v[k] = half2(F::value(fma(a.x, (half)STEP_1, (half)START_1)),
                     F::value(fma(a.y, (half)STEP_1, (half)START_1)));
        v[k + 1] = half2(F::value(fma(b.x, (half)STEP_16, (half)START_16)),
                         F::value(fma(b.y, (half)STEP_16, (half)START_16)));
    }
}

}  // namespace gguf
