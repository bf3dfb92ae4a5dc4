// Q3_K: super-blocks of 256 weights in 110 bytes (layout: ggml's block_q3_K).
//
//   bytes 0-31     third bits: bit s of byte i belongs to weight 32 s + i
//   bytes 32-95    low two bits: see two_bit.h
//   bytes 96-107   16 scales of 6 bits: low nibbles of scales 0-7 in the low halves of bytes
//                  96-103, of scales 8-15 in the high ones; the 2 high bits of scale g at bit
//                  2 (g / 4) of byte 104 + g % 4
//   bytes 108-109  half d   weight = d (scale[g] - 32) (q - 4), sub-blocks of 16
#pragma once
#include "two_bit.h"

namespace gguf {

struct Q3_K : Grouped<Q3_K> {
    struct Block {
        uchar third[32];
        uchar quants[64];
        uchar scales[12];
        half d;
    };
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 16 };

    static float scale(device const uchar* block, uint g) {
        const uint low = block[96 + g % 8] >> g / 8 * 4 & 15;
        const uint high = block[104 + g % 4] >> g / 4 * 2 & 3;
        return half_at(block + 108) * (float)((int)(low | high << 4) - 32);
    }
    static void quants4(device const uchar* block, uint i, thread int* q) {
        const uint low = word_at(block + 32 + two_bit_byte(i)) >> two_bit_shift(i);
        const uint third = word_at(block + i % 8 * 4) >> i / 8;
        GGUF_UNROLL for (uint e = 0; e < 4; ++e)
            q[e] = (int)((low >> 8 * e & 3) | (third >> 8 * e & 1) << 2) - 4;
    }
};

}  // namespace gguf

typedef gguf::Q3_K Format;
