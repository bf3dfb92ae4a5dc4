// IQ4_XS: super-blocks of 256 weights in 136 bytes (layout: ggml's block_iq4_xs).
//
//   bytes 0-1    half d   weight = d (scale[g] - 32) IQ4_VALUES[n], sub-blocks of 32
//   bytes 2-3    high 2 bits of the 8 scales
//   bytes 4-7    low 4 bits of the 8 scales
//   bytes 8-135  nibbles: byte 8 + 16 g + i holds weight 32 g + i (low) and 32 g + 16 + i (high)
#pragma once
#include "iq4_values.h"

namespace gguf {

struct IQ4_XS : Grouped<IQ4_XS, uint> {
    struct Block {
        half d;
        ushort scales_high;
        uchar scales_low[4];
        uchar quants[128];
    };
    static_assert(sizeof(Block) == 136, "block_iq4_xs has 136 bytes");
    static_assert(GGUF_OFFSET(scales_high) == 2, "the upper half of the head that scale() reads");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 32 };
    enum : uint {
        HEAD = GGUF_OFFSET(d),
        SCALES_LOW = GGUF_OFFSET(scales_low),
        QUANTS = GGUF_OFFSET(quants)
    };

    static float scale(BlockAt<Word> block, uint g) {
        const uint head = block[HEAD / 4];
        const uint scale = (block[SCALES_LOW / 4] >> 4 * g & 15) | (head >> (16 + 2 * g) & 3) << 4;
        return (float)as_type<half2>(head).x * (float)((int)scale - 32);
    }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        const uint word = block[QUANTS / 4 + i / 8 * 4 + i % 4];
        look_up4(IQ4_VALUES, word >> i / 4 % 2 * 4, q);
    }
};

}  // namespace gguf

typedef gguf::IQ4_XS Format;
