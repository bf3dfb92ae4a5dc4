// MXFP4: blocks of 32 weights in 17 bytes (layout: ggml's block_mxfp4).
//
//   byte 0      e        weight = 2^(e - 128) E2M1_DOUBLED[n]
//   bytes 1-16  nibbles: byte 1 + i holds weight i (low) and weight 16 + i (high)
//
// Blocks are not aligned.
#pragma once
#include "e2m1.h"

namespace gguf {

struct MXFP4 : Grouped<MXFP4> {
    struct Block {
        uchar exponent;
        uchar quants[16];
    };
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block), GROUP = 32 };

    // Below 2^-126 a float has no exponent: its mantissa is shifted.
    static float scale(device const uchar* block, uint) {
        const uint e = *block;
        return as_type<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    }
    static void quants4(device const uchar* block, uint i, thread int* q) {
        look_up4(E2M1_DOUBLED, word_of_bytes(block + 1 + i % 4 * 4) >> i / 4 * 4, q);
    }
};

}  // namespace gguf

typedef gguf::MXFP4 Format;
