// Q1_0: blocks of 128 weights in 18 bytes (layout: ggml's block_q1_0).
//
//   bytes 0-1   half d
//   bytes 2-17  signs: bit k of byte 2 + i set: weight 8 i + k = d, else -d
#pragma once
#include "../signs.h"

namespace gguf {

struct Q1_0 : Grouped<Q1_0, ushort> {
    struct Block {
        half d;
        uchar signs[16];
    };
    static_assert(sizeof(Block) == 18, "block_q1_0 has 18 bytes");
    enum : uint { WEIGHTS = 128, BYTES = sizeof(Block), GROUP = 32 };
    enum : uint { D = GGUF_OFFSET(d), SIGNS = GGUF_OFFSET(signs) };

    static float scale(BlockAt<Word> block, uint) { return half_at(block, D); }
    static void quants8(BlockAt<Word> block, uint i, thread half* q) {
        const half2 minus = half2(-1.0h);
        signed8(minus, minus, minus, minus, block.byte(SIGNS + i), 0, q);
    }
};

}  // namespace gguf

typedef gguf::Q1_0 Format;
