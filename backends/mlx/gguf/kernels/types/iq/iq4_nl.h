// IQ4_NL: blocks of 32 weights in 18 bytes (layout: ggml's block_iq4_nl).
//
//   bytes 0-1   half d   weight = d IQ4_VALUES[n]
//   bytes 2-17  nibbles: byte 2 + i holds weight i (low) and weight 16 + i (high)
#pragma once
#include "iq4_values.h"

namespace gguf {

struct IQ4_NL : Grouped<IQ4_NL, ushort> {
    struct Block {
        half d;
        uchar quants[16];
    };
    static_assert(sizeof(Block) == 18, "block_iq4_nl has 18 bytes");
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block), GROUP = 32 };
    enum : uint { D = GGUF_OFFSET(d), QUANTS = GGUF_OFFSET(quants) };

    static float scale(BlockAt<Word> block, uint) { return half_at(block, D); }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        look_up4(IQ4_VALUES, word_at(block, QUANTS / 2 + i % 4 * 2) >> i / 4 * 4, q);
    }
};

}  // namespace gguf

typedef gguf::IQ4_NL Format;
