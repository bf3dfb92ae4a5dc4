// What IQ2_XXS, IQ2_XS and IQ2_S share: grid entries of 8 numbers of 2 bits, which stand for the
// values 8, 25 and 43.
#pragma once
#include "../signs.h"

namespace gguf {

// The values of an entry, with signs (see signs.h).
//
// No table, no conversion: as bits, the halves 8, 25 and 43 are those of 2^3, 0x4800, plus 0, 2 and
// 3 times 0x320.
inline void iq2_values8(uint entry, uint signs, uint eighth, thread half* q) {
    const uint steps = entry + ((entry | entry >> 1) & 0x5555u);
    const uint spread = steps | steps << 8;  // steps k and k + 4 are 16 bits apart
    const uint q04 = (spread & 0x00030003u) * 0x320u + Power<3>::PAIR;
    const uint q15 = (spread & 0x000C000Cu) * 0xC8u + Power<3>::PAIR;
    const uint q26 = (spread & 0x00300030u) * 0x32u + Power<3>::PAIR;
    const uint q37 = (spread >> 2 & 0x00300030u) * 0x32u + Power<3>::PAIR;
    signed8(as_type<half2>(q04), as_type<half2>(q15), as_type<half2>(q26), as_type<half2>(q37),
            signs, eighth, q);
}

// The factor that a scale of 4 bits, the lowest of `bits`, stands for.
inline float iq2_scale(uint bits) { return (0.5f + (float)(bits & 15)) * 0.25f; }

}  // namespace gguf
