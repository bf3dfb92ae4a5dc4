// What IQ2_XXS, IQ2_XS and IQ2_S share: grid entries of 8 numbers of 2 bits, which stand for the
// values 8, 25 and 43.
#pragma once
#include "grouped.h"

namespace gguf {

// Values 4 upper .. 4 upper + 3 of an entry.
inline void iq2_values4(uint entry, uint upper, thread int* q) {
    const uint numbers = entry >> 8 * upper;
    GGUF_UNROLL for (uint e = 0; e < 4; ++e)
        q[e] = (int)(0x2B1908u >> 8 * (numbers >> 2 * e & 3) & 0xFF);
}

// The factor that a scale of 4 bits, the lowest of `bits`, stands for.
inline float iq2_scale(uint bits) { return (0.5f + (float)(bits & 15)) * 0.25f; }

}  // namespace gguf
