// TQ1_0: blocks of 256 weights in 54 bytes (layout: ggml's block_tq1_0).
//
//   bytes 0-31   weights 0-159: byte i holds weights 32 n + i, n = 0 .. 4
//   bytes 32-47  weights 160-239: byte 32 + i holds weights 160 + 16 n + i, n = 0 .. 4
//   bytes 48-51  weights 240-255: byte 48 + i holds weights 240 + 4 n + i, n = 0 .. 3
//   bytes 52-53  half d   weight = d (q - 1)
//
// A byte is a fraction of 256 with up to five digits in base 3; weight n is digit n, the first
// after the point being n = 0.
#pragma once
#include "../grouped.h"

namespace gguf {

constant uchar POWERS_OF_3[5] = {1, 3, 9, 27, 81};

struct TQ1_0 : Grouped<TQ1_0, ushort> {
    struct Block {
        uchar quants[52];
        half d;
    };
    static_assert(sizeof(Block) == 54, "block_tq1_0 has 54 bytes");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block), GROUP = 32, ZERO = 1024 + 256, UNIT = 256 };
    enum : uint { QUANTS = GGUF_OFFSET(quants), D = GGUF_OFFSET(d) };

    static float scale(BlockAt<Word> block, uint) { return half_at(block, D); }
    static void quants4(BlockAt<Word> block, uint i, thread half* q) {
        uint byte, digit;
        if (i < 40) {
            byte = i % 8 * 4;
            digit = i / 8;
        } else if (i < 60) {
            byte = 32 + (i - 40) % 4 * 4;
            digit = (i - 40) / 4;
        } else {
            byte = 48;
            digit = i - 60;
        }
        const uint word = word_at(block, QUANTS / 2 + byte / 2), power = POWERS_OF_3[digit];
        // Two bytes at a time. Times 3, a digit comes to bits 8 and 9 of its half: the mantissa
        // of 1024 + 256 digit.
        GGUF_UNROLL
        for (uint e = 0; e < 2; ++e) {
            const uint rest = (word >> 8 * e & 0x00FF00FFu) * power & 0x00FF00FFu;
            const half2 digits = above_1024(rest * 3 & 0x03000300u);
            q[e] = digits.x;
            q[e + 2] = digits.y;
        }
    }
};

}  // namespace gguf

typedef gguf::TQ1_0 Format;
