// Signs of grid values, which have none themselves.
#pragma once
#include "grouped.h"

namespace gguf {

// The sign of a half at bit 31, so that of eight the number of negative ones is even: the lowest
// 7 of `bits` are the others (ggml's ksigns_iq2xs as a table).
inline uint eighth_sign(uint bits) { return popcount(bits & 127) << 31; }

// Four pairs of halves, weights k and k + 4, each negated where bit k or k + 4 of `signs` is set;
// of 8 bits, or of 7 and an eighth_sign.
inline void signed8(half2 q04, half2 q15, half2 q26, half2 q37, uint signs, uint eighth,
                    thread half* q) {
    const half2 pairs[4] = {q04, q15, q26, q37};
    // The last pair's come to where halves have their signs, the others' below. Left shifts by
    // up to 4 are additions on Apple GPUs; all others cost 4 times as much.
    const uint spread = signs << 12 | signs << 24;
    GGUF_UNROLL
    for (uint k = 0; k < 4; ++k) {
        const uint sign_bits = (spread << (3 - k) & 0x80008000u) ^ (k == 3 ? eighth : 0);
        const half2 pair = as_type<half2>(as_type<uint>(pairs[k]) ^ sign_bits);
        q[k] = pair.x;
        q[k + 4] = pair.y;
    }
}

}  // namespace gguf
