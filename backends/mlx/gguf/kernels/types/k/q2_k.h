// Q2_K: super-blocks of 256 weights in 84 bytes (layout: ggml's block_q2_K).
//
//   bytes 0-15   low nibble scale[g], high nibble minimum[g], sub-blocks of 16
//   bytes 16-79  quants: see two_bit.h
//   bytes 80-81  half d     weight = d scale[g] q - dmin minimum[g]
//   bytes 82-83  half dmin
#pragma once
#include "../two_bit.h"

namespace gguf {

struct Q2_K : Grouped<Q2_K, uint> {
    struct Block {
        uchar factors[16];
        uchar quants[64];
        half d;
        half dmin;
    };
    static_assert(sizeof(Block) == 84, "block_q2_K has 84 bytes");
    static_assert(GGUF_OFFSET(dmin) == GGUF_OFFSET(d) + 2, "the pair that factors() reads");
    enum : uint {
        WEIGHTS = 256,
        BYTES = sizeof(Block),
        GROUP = 16,
        HAS_MINIMA = 1,
        ZERO = 1024,
        UNIT = 16
    };
    enum : uint {
        FACTORS = GGUF_OFFSET(factors),
        QUANTS = GGUF_OFFSET(quants),
        D_AND_DMIN = GGUF_OFFSET(d)
    };

    static float scale(BlockAt<Word> block, uint g) {
        return (float)factors(block).x * (float)(block.byte(FACTORS + g) & 15);
    }
    static float minimum(BlockAt<Word> block, uint g) {
        return -(float)factors(block).y * (float)(block.byte(FACTORS + g) >> 4);
    }
    static half2 factors(BlockAt<Word> block) { return as_type<half2>(block[D_AND_DMIN / 4]); }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        const uint word = block[QUANTS / 4 + two_bit_byte(i) / 4] >> two_bit_shift(i);
        bytes4(word & 0x03030303u, q);
    }
};

}  // namespace gguf

typedef gguf::Q2_K Format;
