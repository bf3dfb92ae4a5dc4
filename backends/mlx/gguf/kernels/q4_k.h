// Q4_K: super-blocks of 256 weights in 144 bytes (layout: ggml's block_q4_K).
//
//   bytes 0-1    half d          weight = d scale[s] q - dmin minimum[s]
//   bytes 2-3    half dmin
//   bytes 4-15   8 scales and 8 minima of 6 bits: bytes 4-7 scales 0-3, bytes 8-11
//                minima 0-3, bytes 12-15 low nibbles of scales 4-7 (low half) and
//                minima 4-7 (high half), whose 2 high bits top bytes 4-7 and 8-11
//   bytes 16-143 nibbles: byte 16 + 32 j + i holds weight 64 j + i (low nibble,
//                sub-block 2 j) and weight 64 j + 32 + i (high, sub-block 2 j + 1)
#pragma once
#include "operand.h"

namespace gguf {

struct Q4_K {
    struct Block {
        half d;
        half dmin;
        uchar scales[12];
        uchar quants[128];
    };
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block) };
    typedef uint4 Word;  // the widest load that the alignment of the blocks allows

    // The factors of a block: d and dmin, and the eight scales and minima as bytes, four in
    // a word.
    struct Factors {
        float d, dmin;
        uint2 scales, minima;

        void load(uint4 head) {
            d = (float)as_type<half2>(head.x).x;
            dmin = (float)as_type<half2>(head.x).y;
            scales.x = head.y & 0x3F3F3F3Fu;
            minima.x = head.z & 0x3F3F3F3Fu;
            scales.y = (head.w & 0x0F0F0F0Fu) | (head.y >> 2 & 0x30303030u);
            minima.y = (head.w >> 4 & 0x0F0F0F0Fu) | (head.z >> 2 & 0x30303030u);
        }
        float scale(uint i) const { return d * byte(scales, i); }
        float minimum(uint i) const { return -dmin * byte(minima, i); }

        static float byte(uint2 bytes, uint i) {
            return (float)((i < 4 ? bytes.x : bytes.y) >> i % 4 * 8 & 0xFF);
        }
    };

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* block, uint i, thread float* w) {
        Factors factors;
        factors.load(*(device const uint4*)block);
        const float scale = factors.scale(i / 2), minimum = factors.minimum(i / 2);
        device const uchar* q = block + 16 + i / 4 * 32 + i % 2 * 16;
        const uint shift = i / 2 % 2 * 4;
        GGUF_UNROLL for (uint k = 0; k < 16; ++k)
            w[k] = fma(scale, (float)(q[k] >> shift & 15), minimum);
    }

    // Eight groups of a row, as the left operands of matrix products.
    struct Matrix {
        enum : uint { GROUP = 32, BITS = 4 };

        device const uchar* quants_from;
        Factors factors;

        void load(device const uchar* row, uint group) {
            device const uchar* block = row + group / 8 * BYTES;
            quants_from = block + 16;
            factors.load(*(device const uint4*)block);
        }
        float scale(uint i) const { return factors.scale(i); }
        // What each weight of group i has besides scale times its operand 16 + q.
        float offset(uint i) const { return fma(-16.0f, scale(i), factors.minimum(i)); }
        // Weights 8 t .. 8 t + 7 of group i: q[e] is the pair of weights e and e + 4.
        template <typename X> void quants(uint i, uint t, thread typename X::Pair* q) const {
            const uint2 w = *(device const uint2*)(quants_from + i / 2 * 32 + 8 * t);
            const ushort2 a = as_type<ushort2>(w.x), b = as_type<ushort2>(w.y);
            const uint even = as_type<uint>(ushort2(a.x, b.x)) >> i % 2 * 4;
            const uint odd = as_type<uint>(ushort2(a.y, b.y)) >> i % 2 * 4;
            q[0] = X::template pair<BITS>(even & 0x000F000Fu);
            q[1] = X::template pair<BITS>(even >> 8 & 0x000F000Fu);
            q[2] = X::template pair<BITS>(odd & 0x000F000Fu);
            q[3] = X::template pair<BITS>(odd >> 8 & 0x000F000Fu);
        }
    };

    // The mat-vec of one lane. Four lanes share a super-block; lane j owns quant
    // bytes 32 j .. 32 j + 31, that is sub-blocks 2 j and 2 j + 1, so that two scales
    // and two minima serve 64 weights.
    //
    // No conversions: the half with bits 0x6400 | q << 4 is exactly 1024 + 16 q, and
    // a half is a free operand of a float FMA. The 1024 leaves with the sum of x,
    // which the minima need anyway. (1024 + q would lose four bits more to it.)
    template <uint ROWS> struct MatVec {
        enum : uint { LANES = 4 };

        uint j;
        uint quants;    // where the lane's quants are in a block, in words
        uint low_mask;  // 0x000F000F, kept from the compiler: known, it would be moved
                        // behind the shift and cost one operation more
        bool upper;     // sub-blocks 4-7, whose 6-bit fields are split: see combine()
        uint shift, mask1, mask2, exponents;
        float unit;

        MatVec(uint lane, bool never) {
            j = lane;
            quants = 1 + 2 * lane;
            low_mask = never ? ~0u : 0x000F000Fu;
            upper = lane >= 2;
            shift = lane % 2 * 16;
            mask1 = upper ? 0x00F000C0u : 0u;
            mask2 = upper ? 0x00C0000Fu : 0x003F003Fu;
            exponents = upper ? 0x54004C00u : 0x5C004C00u;
            unit = upper ? -64.0f : -256.0f;
        }

        // Four bytes of quants: low nibbles times xl into `a`, high ones times xh
        // into `b`, each weight as 1024 + 16 q.
        template <typename X> void dot4(uint w, thread const X* xl, thread const X* xh,
                                        thread float& a, thread float& b) const {
            const uint v = w >> 8;
            const half2 l02 = as_type<half2>(((w & low_mask) << 4) + 0x64006400u);
            const half2 l13 = as_type<half2>(((v & low_mask) << 4) + 0x64006400u);
            const half2 h02 = as_type<half2>((w & 0x00F000F0u) | 0x64006400u);
            const half2 h13 = as_type<half2>((v & 0x00F000F0u) | 0x64006400u);
            a = fma((float)xl[0], (float)l02.x, a);
            b = fma((float)xh[0], (float)h02.x, b);
            a = fma((float)xl[2], (float)l02.y, a);
            b = fma((float)xh[2], (float)h02.y, b);
            a = fma((float)xl[1], (float)l13.x, a);
            b = fma((float)xh[1], (float)h13.x, b);
            a = fma((float)xl[3], (float)l13.y, a);
            b = fma((float)xh[3], (float)h13.y, b);
        }

        uint first_weight() const { return 64 * j; }

        // Adds the lane's part of one block of ROWS rows to `sum`. `x`: activations from the
        // lane's first weight on. The block lies `at` words from the start of each row.
        template <typename InT> void step(device const InT* x,
                                          device const Word* const thread* rows, uint at,
                                          thread float* sum) const {
            float low[ROWS], high[ROWS];
            float xl_sum = 0.0f, xh_sum = 0.0f;
            GGUF_UNROLL for (uint r = 0; r < ROWS; ++r) low[r] = high[r] = 0.0f;
            GGUF_UNROLL for (uint part = 0; part < 2; ++part) {
                uint4 q[ROWS];
                GGUF_UNROLL for (uint r = 0; r < ROWS; ++r)
                    q[r] = rows[r][at + quants + part];
                GGUF_UNROLL for (uint c = 0; c < 2; ++c) {
                    typename Activation<InT>::Staged xl[8], xh[8];
                    load8(x + 16 * part + 8 * c, xl);
                    load8(x + 16 * part + 8 * c + 32, xh);
                    GGUF_UNROLL for (uint i = 0; i < 8; ++i) {
                        xl_sum += (float)xl[i];
                        xh_sum += (float)xh[i];
                    }
                    GGUF_UNROLL for (uint r = 0; r < ROWS; ++r) {
                        dot4(q[r][2 * c], xl, xh, low[r], high[r]);
                        dot4(q[r][2 * c + 1], xl + 4, xh + 4, low[r], high[r]);
                    }
                }
            }
            GGUF_UNROLL for (uint r = 0; r < ROWS; ++r)
                sum[r] = combine(rows[r][at], low[r] - 1024.0f * xl_sum,
                                 high[r] - 1024.0f * xh_sum, xl_sum, xh_sum, sum[r]);
        }

        // Applies scales and minima to the lane's two sub-blocks. `low` and `high`
        // hold sums of 16 q x.
        //
        // The 6-bit fields, without branches. w1 and w2 are halfwords of the scale
        // bytes such that, for both halves of the block, with masks of the lane,
        //   field = (w1 & mask1) + ((w2 & mask2) << 2),
        // as 4 scale in the low halfword, and 4 minimum (j < 2) or 16 minimum (j >= 2)
        // in the high one. As mantissas: 0x4C00 | 4 scale is the half 16 + scale / 16,
        // 0x5C00 | 4 minimum is 256 + minimum, 0x5400 | 16 minimum is 64 + minimum.
        float combine(uint4 head, float low, float high, float xl_sum, float xh_sum,
                      float sum) const {
            const half2 d = as_type<half2>(head.x);
            const uint a = head.y >> shift, b = head.z >> shift, c = head.w >> shift;
            const uint w1 = as_type<uint>(ushort2((ushort)a, (ushort)c));
            const uint w2 = as_type<uint>(ushort2((ushort)(upper ? c : a), (ushort)b));
            const uint field0 = (w1 & mask1) + ((w2 & mask2) << 2);
            const uint field1 = (w1 >> 8 & mask1) + ((w2 >> 8 & mask2) << 2);
            const half2 f0 = as_type<half2>(field0 | exponents);
            const half2 f1 = as_type<half2>(field1 | exponents);
            const float scaled = fma(low, (float)f0.x - 16.0f, high * ((float)f1.x - 16.0f));
            const float minima =
                fma(xl_sum, (float)f0.y, fma(xh_sum, (float)f1.y, unit * (xl_sum + xh_sum)));
            return fma(-(float)d.y, minima, fma((float)d.x, scaled, sum));
        }

        static float finish(float sum) { return sum; }
    };
};

}  // namespace gguf

typedef gguf::Q4_K Format;
