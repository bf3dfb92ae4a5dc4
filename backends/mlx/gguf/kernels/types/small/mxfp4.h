// MXFP4: blocks of 32 weights in 17 bytes (layout: ggml's block_mxfp4).
//
//   byte 0      e        weight = 2^(e - 128) E2M1_DOUBLED[n]
//   bytes 1-16  nibbles: byte 1 + i holds weight i (low) and weight 16 + i (high)
//
// Blocks are not aligned.
#pragma once
#include "e2m1.h"

namespace gguf {

struct MXFP4 : Grouped<MXFP4, uchar> {
    struct Block {
        uchar exponent;
        uchar quants[16];
    };
    static_assert(sizeof(Block) == 17, "block_mxfp4 has 17 bytes");
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block), GROUP = 32 };
    enum : uint { EXPONENT = GGUF_OFFSET(exponent), QUANTS = GGUF_OFFSET(quants) };

    // Below 2^-126 a float has no exponent: its mantissa is shifted.
    static float scale(BlockAt<Word> block, uint) {
        const uint e = block[EXPONENT];
        return as_type<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        GGUF_UNROLL
        for (uint e = 0; e < 4; ++e)
            q[e] = E2M1_DOUBLED[block[QUANTS + i % 4 * 4 + e] >> i / 4 * 4 & 15];
    }
};

}  // namespace gguf

typedef gguf::MXFP4 Format;
