// Signs of grid values, which have none themselves.
#pragma once
#include "grouped.h"

namespace gguf {

// Eight signs, of which seven are stored, in the lowest bits: the number of negative ones is
// even (ggml's ksigns_iq2xs as a table).
inline uint signs_of_7(uint bits) {
    const uint seven = bits & 127;
    return seven | (popcount(seven) & 1) << 7;
}

// Negates q[e] where bit e is set.
inline void apply_signs4(uint signs, thread int* q) {
    GGUF_UNROLL for (uint e = 0; e < 4; ++e) q[e] = signs >> e & 1 ? -q[e] : q[e];
}

}  // namespace gguf
