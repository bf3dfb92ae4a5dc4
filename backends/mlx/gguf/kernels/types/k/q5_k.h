// Q5_K: super-blocks of 256 weights in 176 bytes (layout: ggml's block_q5_K).
//
//   bytes 0-15   factors: see six_bit.h
//   bytes 16-47  fifth bits: bit s of byte 16 + i belongs to weight 32 s + i
//   bytes 48-175 nibbles: byte 48 + 32 j + i holds weight 64 j + i (low nibble,
//                sub-block 2 j) and weight 64 j + 32 + i (high, sub-block 2 j + 1)
#pragma once
#include "six_bit.h"

namespace gguf {

struct Q5_K {
    struct Block {
        half d;
        half dmin;
        uchar scales[12];
        uchar high[32];
        uchar quants[128];
    };
    static_assert(sizeof(Block) == 176, "block_q5_K has 176 bytes");
    static_assert(GGUF_OFFSET(d) == 0 && GGUF_OFFSET(dmin) == 2 && GGUF_OFFSET(scales) == 4,
                  "the factors of six_bit.h");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block) };
    enum : uint { HIGH = GGUF_OFFSET(high), QUANTS = GGUF_OFFSET(quants) };
    typedef uint4 Word;  // the widest load that the alignment of the blocks allows

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* block, uint i, thread float* w) {
        SixBitFactors factors;
        factors.load(*(device const uint4*)block);
        const uint s = i / 2;
        const float scale = factors.scale(s), minimum = factors.minimum(s);
        device const uchar* high = block + HIGH + i % 2 * 16;
        device const uchar* q = block + QUANTS + i / 4 * 32 + i % 2 * 16;
        const uint shift = s % 2 * 4;
        GGUF_UNROLL
        for (uint k = 0; k < 16; ++k) {
            const uint quant = (q[k] >> shift & 15) | (high[k] >> s & 1) << 4;
            w[k] = fma(scale, (float)quant, minimum);
        }
    }

    // Eight groups of a row, as the left operands of matrix products.
    struct Matrix {
        enum : uint { GROUP = 32, BITS = 5, HAS_OFFSETS = 1 };

        device const uchar* block;
        SixBitFactors factors;

        void load(device const uchar* row, uint group) {
            block = row + group / 8 * BYTES;
            factors.load(*(device const uint4*)block);
        }
        float scale(uint i) const { return factors.scale(i); }
        // What each weight of group i has besides scale times its operand 32 + q.
        float offset(uint i) const { return fma(-32.0f, scale(i), factors.minimum(i)); }
        // Weights 8 t .. 8 t + 7 of group i: q[e] is the pair of weights e and e + 4.
        struct Words {
            uint2 nibbles, bits;
        };
        Words words(uint i, uint t) const {
            return {*(device const uint2*)(block + QUANTS + i / 2 * 32 + 8 * t),
                    *(device const uint2*)(block + HIGH + 8 * t)};
        }
        template <typename X>
        void quants(Words w, uint i, uint, thread typename X::Pair* q) const {
            GGUF_UNROLL
            for (uint e = 0; e < 4; ++e) {
                const ushort2 low = halves(w.nibbles, e / 2), high = halves(w.bits, e / 2);
                q[e] = pair<X, BITS>(field<X, BITS, 4>(as_type<uint>(low), i % 2 * 4 + e % 2 * 8) |
                                     field<X, BITS, 1>(as_type<uint>(high), i + e % 2 * 8, 4));
            }
        }
        // Halfword k of both words.
        static ushort2 halves(uint2 words, uint k) {
            const ushort2 a = as_type<ushort2>(words.x), b = as_type<ushort2>(words.y);
            return k ? ushort2(a.y, b.y) : ushort2(a.x, b.x);
        }
    };

    // No conversions: the five bits are put together for four bytes at once, which become halves
    // 1024 + 16 q (see mantissa.h), whose 1024 leaves with the sum of x (see q4_k.h).
    struct LaneQuants {
        struct Words {
            uint4 nibbles;
            uint4 bits;
        };

        uint first;  // where the lane's quants are in a block, in words
        uint shift;  // of the lane's first sub-block among the fifth bits

        // Masks, kept from the compiler: known, they would be moved behind the shifts and cost
        // one operation more each.
        uint fifths, bytes;

        LaneQuants(uint lane, bool never) {
            first = QUANTS / sizeof(Word) + 2 * lane;
            shift = 2 * lane;
            fifths = never ? ~0u : 0x01010101u;
            bytes = never ? ~0u : 0x00FF00FFu;
        }
        void load(device const Word* row, uint offset, uint part, thread Words& words) const {
            words.nibbles = row[offset + first + part];
            words.bits = row[offset + HIGH / sizeof(Word) + part];
        }
        template <typename X>
        void dot4(thread const Words& words, uint c, thread const X* xl, thread const X* xh,
                  thread float& a, thread float& b) const {
            const uint w = words.nibbles[c], bits = words.bits[c] >> shift;
            const uint l = (w & 0x0F0F0F0Fu) + ((bits & fifths) << 4);
            const uint h = (w >> 4 & 0x0F0F0F0Fu) + ((bits & 2 * fifths) << 3);
            dot2(above_1024_by_16(l & bytes), xl, above_1024_by_16(h & bytes), xh, a, b);
            dot2(odd_bytes(l), xl + 1, odd_bytes(h), xh + 1, a, b);
        }
        static float centred(float sum, float x_sum) { return sum - 1024.0f * x_sum; }
    };
    template <uint ROWS, uint X_ROWS>
    using MatVec = SixBitMatVec<LaneQuants, ROWS, X_ROWS>;
};

}  // namespace gguf

typedef gguf::Q5_K Format;
