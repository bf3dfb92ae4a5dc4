// Q2_K: super-blocks of 256 weights in 84 bytes (layout: ggml's block_q2_K).
//
//   bytes 0-15   low nibble scale[g], high nibble minimum[g], sub-blocks of 16
//   bytes 16-79  quants: see two_bit.h
//   bytes 80-81  half d     weight = d scale[g] q - dmin minimum[g]
//   bytes 82-83  half dmin
#pragma once
#include "two_bit.h"

namespace gguf {

struct Q2_K : Grouped<Q2_K> {
    struct Block {
        uchar factors[16];
        uchar quants[64];
        half d;
        half dmin;
    };
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 16, HAS_MINIMA = 1 };

    static float scale(device const uchar* block, uint g) {
        return half_at(block + 80) * (float)(block[g] & 15);
    }
    static float minimum(device const uchar* block, uint g) {
        return -half_at(block + 82) * (float)(block[g] >> 4);
    }
    static void quants4(device const uchar* block, uint i, thread int* q) {
        const uint word = *(device const uint*)(block + 16 + two_bit_byte(i)) >> two_bit_shift(i);
        GGUF_UNROLL for (uint e = 0; e < 4; ++e) q[e] = word >> 8 * e & 3;
    }
};

}  // namespace gguf

typedef gguf::Q2_K Format;
