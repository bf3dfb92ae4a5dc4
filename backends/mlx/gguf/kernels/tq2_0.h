// TQ2_0: blocks of 256 weights in 66 bytes (layout: ggml's block_tq2_0).
//
//   bytes 0-63   quants: see two_bit.h
//   bytes 64-65  half d   weight = d (q - 1)
#pragma once
#include "two_bit.h"

namespace gguf {

struct TQ2_0 : Grouped<TQ2_0> {
    struct Block {
        uchar quants[64];
        half d;
    };
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 32 };

    static float scale(device const uchar* block, uint) { return half_at(block + 64); }
    static void quants4(device const uchar* block, uint i, thread int* q) {
        const uint word = word_at(block + two_bit_byte(i)) >> two_bit_shift(i);
        GGUF_UNROLL for (uint e = 0; e < 4; ++e) q[e] = (int)(word >> 8 * e & 3) - 1;
    }
};

}  // namespace gguf

typedef gguf::TQ2_0 Format;
