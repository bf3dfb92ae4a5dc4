// Q4_K: super-blocks of 256 weights in 144 bytes (layout: ggml's block_q4_K).
//
//   bytes 0-15   factors: see six_bit.h
//   bytes 16-143 nibbles: byte 16 + 32 j + i holds weight 64 j + i (low nibble,
//                sub-block 2 j) and weight 64 j + 32 + i (high, sub-block 2 j + 1)
#pragma once
#include "six_bit.h"

namespace gguf {

struct Q4_K {
    struct Block {
        half d;
        half dmin;
        uchar scales[12];
        uchar quants[128];
    };
    static_assert(sizeof(Block) == 144, "block_q4_K has 144 bytes");
    static_assert(GGUF_OFFSET(d) == 0 && GGUF_OFFSET(dmin) == 2 && GGUF_OFFSET(scales) == 4,
                  "the factors of six_bit.h");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block) };
    enum : uint { QUANTS = GGUF_OFFSET(quants) };
    typedef uint4 Word;  // the widest load that the alignment of the blocks allows

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* block, uint i, thread float* w) {
        SixBitFactors factors;
        factors.load(*(device const uint4*)block);
        const float scale = factors.scale(i / 2), minimum = factors.minimum(i / 2);
        device const uchar* q = block + QUANTS + i / 4 * 32 + i % 2 * 16;
        const uint shift = i / 2 % 2 * 4;
        GGUF_UNROLL
        for (uint k = 0; k < 16; ++k) w[k] = fma(scale, (float)(q[k] >> shift & 15), minimum);
    }

    // Eight groups of a row, as the left operands of matrix products.
    struct Matrix {
        enum : uint { GROUP = 32, BITS = 4, HAS_OFFSETS = 1 };

        device const uchar* block_quants;
        SixBitFactors factors;

        void load(device const uchar* row, uint group) {
            device const uchar* block = row + group / 8 * BYTES;
            block_quants = block + QUANTS;
            factors.load(*(device const uint4*)block);
        }
        float scale(uint i) const { return factors.scale(i); }
        // What each weight of group i has besides scale times its operand 16 + q.
        float offset(uint i) const { return fma(-16.0f, scale(i), factors.minimum(i)); }
        // Weights 8 t .. 8 t + 7 of group i: q[e] is the pair of weights e and e + 4.
        typedef uint2 Words;
        Words words(uint i, uint t) const {
            return *(device const uint2*)(block_quants + i / 2 * 32 + 8 * t);
        }
        template <typename X>
        void quants(Words w, uint i, uint, thread typename X::Pair* q) const {
            const ushort2 a = as_type<ushort2>(w.x), b = as_type<ushort2>(w.y);
            const uint even = as_type<uint>(ushort2(a.x, b.x));
            const uint odd = as_type<uint>(ushort2(a.y, b.y));
            const uint bit = i % 2 * 4;
            q[0] = pair<X, BITS>(field<X, BITS, 4>(even, bit));
            q[1] = pair<X, BITS>(field<X, BITS, 4>(even, bit + 8));
            q[2] = pair<X, BITS>(field<X, BITS, 4>(odd, bit));
            q[3] = pair<X, BITS>(field<X, BITS, 4>(odd, bit + 8));
        }
    };

    // No conversions: a quant becomes the half 1024 + 16 q (see mantissa.h), and a half is a free
    // operand of a float FMA. The 1024 leaves with the sum of x, which the minima need anyway.
    // (1024 + q would lose four bits more to it.)
    struct LaneQuants {
        typedef uint4 Words;

        uint first;     // where the lane's quants are in a block, in words
        uint low_mask;  // 0x000F000F, kept from the compiler: known, it would be moved
                        // behind the shift and cost one operation more

        LaneQuants(uint lane, bool never) {
            first = QUANTS / sizeof(Word) + 2 * lane;
            low_mask = never ? ~0u : 0x000F000Fu;
        }
        void load(device const Word* row, uint offset, uint part, thread uint4& words) const {
            words = row[offset + first + part];
        }
        template <typename X>
        void dot4(thread const uint4& words, uint c, thread const X* xl, thread const X* xh,
                  thread float& a, thread float& b) const {
            const uint w = words[c], v = w >> 8;
            const half2 l02 = above_1024_by_16(w & low_mask), l13 = above_1024_by_16(v & low_mask);
            const half2 h02 = above_1024(w & 0x00F000F0u), h13 = above_1024(v & 0x00F000F0u);
            dot2(l02, xl, h02, xh, a, b);
            dot2(l13, xl + 1, h13, xh + 1, a, b);
        }
        static float centred(float sum, float x_sum) { return sum - 1024.0f * x_sum; }
    };
    template <uint ROWS, uint X_ROWS>
    using MatVec = SixBitMatVec<LaneQuants, ROWS, X_ROWS>;
};

}  // namespace gguf

typedef gguf::Q4_K Format;
