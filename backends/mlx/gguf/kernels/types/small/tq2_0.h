// TQ2_0: blocks of 256 weights in 66 bytes (layout: ggml's block_tq2_0).
//
//   bytes 0-63   quants: see two_bit.h
//   bytes 64-65  half d   weight = d (q - 1)
#pragma once
#include "../two_bit.h"

namespace gguf {

struct TQ2_0 : Grouped<TQ2_0, ushort> {
    struct Block {
        uchar quants[64];
        half d;
    };
    static_assert(sizeof(Block) == 66, "block_tq2_0 has 66 bytes");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 32, ZERO = 1024 + 16, UNIT = 16 };
    enum : uint { QUANTS = GGUF_OFFSET(quants), D = GGUF_OFFSET(d) };

    static float scale(BlockAt<Word> block, uint) { return half_at(block, D); }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        const uint word = word_at(block, QUANTS / 2 + two_bit_byte(i) / 2) >> two_bit_shift(i);
        bytes4(word & 0x03030303u, q);
    }
};

}  // namespace gguf

typedef gguf::TQ2_0 Format;
