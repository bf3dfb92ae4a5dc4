// IQ1_S: super-blocks of 256 weights in 50 bytes (layout: ggml's block_iq1_s).
//
//   bytes 0-1    half d   weight = d (1 + 2 scale) (value + delta), sub-blocks of 32
//   bytes 2-33   low 8 bits of the numbers of 32 grid entries
//   bytes 34-49  a halfword for each sub-block: four times 3 high bits of an entry's number, the
//                scale in bits 12-14, and bit 15: delta is -1/8, not 1/8
#pragma once
#include "iq1_grid.h"

namespace gguf {

struct IQ1_S : Grouped<IQ1_S> {
    struct Block {
        half d;
        uchar quants[32];
        ushort high[8];
    };
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 32 };

    static float scale(device const uchar* block, uint g) {
        const uint high = ((device const Block*)block)->high[g];
        return half_at(block) * 0.125f * (float)(1 + 2 * (high >> 12 & 7));
    }
    static void quants4(device const uchar* block, uint i, thread int* q) {
        const uint high = ((device const Block*)block)->high[i / 8];
        const uint entry = block[2 + i / 2] | (high >> 3 * (i / 2 % 4) & 7) << 8;
        iq1_eighths4(entry, i % 2, high >> 15, q);
    }
};

}  // namespace gguf

typedef gguf::IQ1_S Format;
