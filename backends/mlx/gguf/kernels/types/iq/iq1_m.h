// IQ1_M: super-blocks of 256 weights in 56 bytes (layout: ggml's block_iq1_m).
//
//   bytes 0-31   low 8 bits of the numbers of 32 grid entries
//   bytes 32-47  a nibble for each entry: 3 high bits of its number, and the highest bit: delta
//                is -1/8, not 1/8
//   bytes 48-55  four halfwords: four times a scale of 3 bits, and in the 4 highest bits a
//                quarter of the half d, lowest first
//
// weight = d (1 + 2 scale[g]) (value + delta), sub-blocks of 16
#pragma once
#include "iq1_grid.h"

namespace gguf {

struct IQ1_M : Grouped<IQ1_M, ushort> {
    struct Block {
        uchar quants[32];
        uchar high[16];
        ushort scales[4];
    };
    static_assert(sizeof(Block) == 56, "block_iq1_m has 56 bytes");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 16 };
    enum : uint {
        QUANTS = GGUF_OFFSET(quants),
        HIGH = GGUF_OFFSET(high),
        SCALES = GGUF_OFFSET(scales)
    };

    static float scale(BlockAt<Word> block, uint g) {
        const uint x = word_at(block, SCALES / 2), y = word_at(block, SCALES / 2 + 2);
        const uint quarters = (x >> 8 & 0x00F000F0u) | (y & 0xF000F000u);
        const float d = (float)as_type<half>((ushort)((quarters >> 4 & 0x0F0F) | quarters >> 16));
        const uint scale = (uint)block[SCALES / 2 + g / 4] >> g % 4 * 3 & 7;
        return d * (float)(1 + 2 * scale);
    }
    static void quants8(BlockAt<Word> block, uint i, thread half* q) {
        const uint high = block.byte(HIGH + i / 2) >> i % 2 * 4;
        iq1_values8(block.byte(QUANTS + i) | (high & 7) << 8, high & 8, q);
    }
};

}  // namespace gguf

typedef gguf::IQ1_M Format;
