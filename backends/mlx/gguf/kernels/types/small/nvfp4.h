// NVFP4: blocks of 64 weights in 36 bytes (layout: ggml's block_nvfp4).
//
//   bytes 0-3   4 scales   weight = scale[g] / 2 E2M1_DOUBLED[n], sub-blocks of 16
//   bytes 4-35  nibbles: byte 4 + 8 g + i holds weight 16 g + i (low) and 16 g + 8 + i (high)
//
// A scale is a float of 4 exponent and 3 mantissa bits; its sign bit does not count, and 0x7F,
// which is not a number, stands for 0.
#pragma once
#include "e2m1.h"

namespace gguf {

struct NVFP4 : Grouped<NVFP4, uint> {
    struct Block {
        uchar scales[4];
        uchar quants[32];
    };
    static_assert(sizeof(Block) == 36, "block_nvfp4 has 36 bytes");
    enum : uint { WEIGHTS = 64, BYTES = sizeof(Block), GROUP = 16 };
    enum : uint { SCALES = GGUF_OFFSET(scales), QUANTS = GGUF_OFFSET(quants) };

    static float scale(BlockAt<Word> block, uint g) {
        const uint bits = block.byte(SCALES + g), exponent = bits >> 3 & 15, mantissa = bits & 7;
        if (exponent == 0) return (float)mantissa * 0.0009765625f;
        return bits == 0x7F ? 0.0f : as_type<float>((exponent + 119) << 23 | mantissa << 20);
    }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        const uint word = block[QUANTS / 4 + i / 4 * 2 + i % 2];
        look_up4(E2M1_DOUBLED, word >> i / 2 % 2 * 4, q);
    }
};

}  // namespace gguf

typedef gguf::NVFP4 Format;
