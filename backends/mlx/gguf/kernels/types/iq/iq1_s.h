// IQ1_S: super-blocks of 256 weights in 50 bytes (layout: ggml's block_iq1_s).
//
//   bytes 0-1    half d   weight = d (1 + 2 scale) (value + delta), sub-blocks of 32
//   bytes 2-33   low 8 bits of the numbers of 32 grid entries
//   bytes 34-49  a halfword for each sub-block: four times 3 high bits of an entry's number, the
//                scale in bits 12-14, and bit 15: delta is -1/8, not 1/8
#pragma once
#include "iq1_grid.h"

namespace gguf {

struct IQ1_S : Grouped<IQ1_S, ushort> {
    struct Block {
        half d;
        uchar quants[32];
        ushort high[8];
    };
    static_assert(sizeof(Block) == 50, "block_iq1_s has 50 bytes");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 32 };
    enum : uint { D = GGUF_OFFSET(d), QUANTS = GGUF_OFFSET(quants), HIGH = GGUF_OFFSET(high) };

    static float scale(BlockAt<Word> block, uint g) {
        const uint high = block[HIGH / 2 + g];
        return half_at(block, D) * (float)(1 + 2 * (high >> 12 & 7));
    }
    static void quants8(BlockAt<Word> block, uint i, thread half* q) {
        const uint high = block[HIGH / 2 + i / 4];
        iq1_values8(block.byte(QUANTS + i) | (high >> 3 * (i % 4) & 7) << 8, high >> 15, q);
    }
};

}  // namespace gguf

typedef gguf::IQ1_S Format;
