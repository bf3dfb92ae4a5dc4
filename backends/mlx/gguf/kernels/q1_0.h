// Q1_0: blocks of 128 weights in 18 bytes (layout: ggml's block_q1_0).
//
//   bytes 0-1   half d
//   bytes 2-17  signs: bit k of byte 2 + i set: weight 8 i + k = d, else -d
#pragma once
#include "grouped.h"

namespace gguf {

struct Q1_0 : Grouped<Q1_0> {
    struct Block {
        half d;
        uchar signs[16];
    };
    enum : uint { WEIGHTS = 128, BYTES = sizeof(Block), GROUP = 32 };

    static float scale(device const uchar* block, uint) { return half_at(block); }
    static void quants4(device const uchar* block, uint i, thread int* q) {
        const uint signs = block[2 + i / 2] >> i % 2 * 4;
        GGUF_UNROLL for (uint e = 0; e < 4; ++e) q[e] = signs >> e & 1 ? 1 : -1;
    }
};

}  // namespace gguf

typedef gguf::Q1_0 Format;
