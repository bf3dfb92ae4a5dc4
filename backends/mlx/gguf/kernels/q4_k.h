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
#include "common.h"

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

    // Weights COUNT i .. COUNT i + COUNT - 1 of a block; COUNT is 8 or 16.
    template <uint COUNT> static void decode(device const uchar* block, uint i, thread float* w) {
        device const Block* b = (device const Block*)block;
        const uint s = i * COUNT / 32;
        uint scale, minimum;
        if (s < 4) {
            scale = b->scales[s] & 63;
            minimum = b->scales[s + 4] & 63;
        } else {
            scale = (b->scales[s + 4] & 15) | (b->scales[s - 4] >> 6 << 4);
            minimum = (b->scales[s + 4] >> 4) | (b->scales[s] >> 6 << 4);
        }
        const float d = (float)b->d * (float)scale;
        const float m = -(float)b->dmin * (float)minimum;
        device const uchar* q = b->quants + s / 2 * 32 + i * COUNT % 32;
        const uint shift = s % 2 * 4;
        GGUF_UNROLL for (uint k = 0; k < COUNT; ++k) w[k] = fma(d, (float)(q[k] >> shift & 15), m);
    }

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
