// Q3_K: super-blocks of 256 weights in 110 bytes (layout: ggml's block_q3_K).
//
//   bytes 0-31     third bits: bit s of byte i belongs to weight 32 s + i
//   bytes 32-95    low two bits: see two_bit.h
//   bytes 96-107   16 scales of 6 bits: low nibbles of scales 0-7 in the low halves of bytes
//                  96-103, of scales 8-15 in the high ones; the 2 high bits of scale g at bit
//                  2 (g / 4) of byte 104 + g % 4
//   bytes 108-109  half d   weight = d (scale[g] - 32) (q - 4), sub-blocks of 16
#pragma once
#include "../two_bit.h"

namespace gguf {

struct Q3_K : Grouped<Q3_K, ushort> {
    struct Block {
        uchar third[32];
        uchar quants[64];
        uchar scales[12];
        half d;
    };
    static_assert(sizeof(Block) == 110, "block_q3_K has 110 bytes");
    enum : uint {
        WEIGHTS = 256,
        BYTES = sizeof(Block),
        GROUP = 16,
        ZERO = 1024 + 16 * 4,
        UNIT = 16
    };
    enum : uint {
        THIRD = GGUF_OFFSET(third),
        QUANTS = GGUF_OFFSET(quants),
        SCALES = GGUF_OFFSET(scales),
        D = GGUF_OFFSET(d)
    };

    static float scale(BlockAt<Word> block, uint g) {
        const uint low = block.byte(SCALES + g % 8) >> g / 8 * 4 & 15;
        const uint high = block.byte(SCALES + 8 + g % 4) >> g / 4 * 2 & 3;
        return half_at(block, D) * (float)((int)(low | high << 4) - 32);
    }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        const uint low = word_at(block, QUANTS / 2 + two_bit_byte(i) / 2) >> two_bit_shift(i);
        const uint third = word_at(block, THIRD / 2 + i % 8 * 2) >> i / 8;
        bytes4((low & 0x03030303u) | (third & 0x01010101u) << 2, q);
    }
};

}  // namespace gguf

typedef gguf::Q3_K Format;
