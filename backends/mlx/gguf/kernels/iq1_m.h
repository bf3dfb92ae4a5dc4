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

struct IQ1_M : Grouped<IQ1_M> {
    struct Block {
        uchar quants[32];
        uchar high[16];
        ushort scales[4];
    };
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 16 };

    static float scale(device const uchar* block, uint g) {
        const uint2 words = *(device const uint2*)(block + 48);
        const uint low = (words.x >> 12 & 0xF) | (words.x >> 24 & 0xF0);
        const uint high = (words.y >> 12 & 0xF) | (words.y >> 24 & 0xF0);
        const float d = (float)as_type<half>((ushort)(low | high << 8));
        const uint scale = (g < 8 ? words.x : words.y) >> (g / 4 % 2 * 16 + g % 4 * 3) & 7;
        return d * 0.125f * (float)(1 + 2 * scale);
    }
    static void quants4(device const uchar* block, uint i, thread int* q) {
        const uint high = block[32 + i / 4] >> i / 2 % 2 * 4;
        iq1_eighths4(block[i / 2] | (high & 7) << 8, i % 2, high & 8, q);
    }
};

}  // namespace gguf

typedef gguf::IQ1_M Format;
