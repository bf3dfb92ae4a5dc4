// Q8_1: blocks of 32 weights in 36 bytes (layout: ggml's block_q8_1).
//
//   bytes 0-1   half d   weight = d q
//   bytes 2-3   half s   d times the sum of the quants: not needed
//   bytes 4-35  32 quants, int8
#pragma once
#include "../grouped.h"

namespace gguf {

struct Q8_1 : Grouped<Q8_1, uint> {
    struct Block {
        half d;
        half s;
        int8_t quants[32];
    };
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block), GROUP = 32 };
    static_assert(BYTES == 36, "Q8_1: a block has 36 bytes");

    static float scale(BlockAt<Word> block, uint) { return (float)as_type<half2>(block[0]).x; }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        const uint word = block[1 + i];
        GGUF_UNROLL
        for (uint e = 0; e < 4; ++e) q[e] = (half)((int)(word << (24 - 8 * e)) >> 24);
    }
};

}  // namespace gguf

typedef gguf::Q8_1 Format;
