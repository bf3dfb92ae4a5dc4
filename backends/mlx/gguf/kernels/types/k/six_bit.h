// The scales and minima of Q4_K and Q5_K: the first 16 bytes of their blocks.
//
//   bytes 0-1   half d          weight = d scale[s] q - dmin minimum[s]
//   bytes 2-3   half dmin
//   bytes 4-15  8 scales and 8 minima of 6 bits: bytes 4-7 scales 0-3, bytes 8-11
//               minima 0-3, bytes 12-15 low nibbles of scales 4-7 (low half) and
//               minima 4-7 (high half), whose 2 high bits top bytes 4-7 and 8-11
#pragma once
#include "../../ops/operand.h"

namespace gguf {

// The factors of a block: d and dmin, and the eight scales and minima as bytes, four in a
// word.
struct SixBitFactors {
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

// The factors of sub-blocks 2 j and 2 j + 1, for the mat-vec lane that owns them: decoded
// without branches and without conversions.
//
// w1 and w2 are halfwords of the scale bytes such that, for both halves of the block, with
// masks of the lane,
//   field = (w1 & mask1) + ((w2 & mask2) << 2),
// as 4 scale in the low halfword, and 4 minimum (j < 2) or 16 minimum (j >= 2) in the high
// one. As mantissas (see mantissa.h): of 2^4, 4 scale makes 16 + scale / 16; of 2^8, 4 minimum
// makes 256 + minimum; of 2^6, 16 minimum makes 64 + minimum.
struct SixBitLane {
    bool upper;  // sub-blocks 4-7, whose fields are split
    uint shift, mask1, mask2, exponents;
    float unit;

    SixBitLane(uint j) {
        upper = j >= 2;
        shift = j % 2 * 16;
        mask1 = upper ? 0x00F000C0u : 0u;
        mask2 = upper ? 0x00C0000Fu : 0x003F003Fu;
        exponents = (upper ? Power<6>::BITS : Power<8>::BITS) << 16 | Power<4>::BITS;
        unit = upper ? -64.0f : -256.0f;
    }

    // Adds to `sum` the weights' part, from low and high, sums of 16 q x of the two
    // sub-blocks, and the minima's, from the sums of x.
    float apply(uint4 head, float low, float high, float x_low, float x_high, float sum) const {
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
            fma(x_low, (float)f0.y, fma(x_high, (float)f1.y, unit * (x_low + x_high)));
        return fma(-(float)d.y, minima, fma((float)d.x, scaled, sum));
    }
};

// The mat-vec of one lane. Four lanes share a super-block; lane j owns quant bytes
// 32 j .. 32 j + 31, that is sub-blocks 2 j and 2 j + 1, so that two scales and two minima
// serve 64 weights. Quants says how the quants are read and multiplied:
//   load(row, offset, part, words): what belongs to 16 of the lane's quant bytes;
//   dot4(words, c, x_low, x_high, low, high): adds the products of bytes 4 c .. 4 c + 3,
//   with numbers linear in the quants;
//   centred(sum, x_sum): such a sum as the sum of 16 q x.
template <typename Quants, uint ROWS, uint X_ROWS>
struct SixBitMatVec {
    // A lane's activations lie 128 bytes and more from the next lane's, in half and bfloat:
    // wide loads halve the cache lines that a simdgroup touches.
    enum : uint { LANES = 4, WIDE_X = 1 };
    typedef uint4 Word;

    SixBitLane factors;
    Quants quants;
    uint first;

    SixBitMatVec(uint lane, bool never) : factors(lane), quants(lane, never) { first = 64 * lane; }

    uint first_weight() const { return first; }

    template <bool WIDE, typename InT>
    void step(device const InT* x, uint x_stride, device const Word* const thread* rows,
              uint offset, thread float* sum) const {
        float low[ROWS][X_ROWS], high[ROWS][X_ROWS];
        float xl_sum[X_ROWS], xh_sum[X_ROWS];
        GGUF_UNROLL
        for (uint m = 0; m < X_ROWS; ++m) {
            xl_sum[m] = xh_sum[m] = 0.0f;
            GGUF_UNROLL
            for (uint r = 0; r < ROWS; ++r) low[r][m] = high[r][m] = 0.0f;
        }
        GGUF_UNROLL
        for (uint part = 0; part < 2; ++part) {
            typename Quants::Words words[ROWS];
            GGUF_UNROLL
            for (uint r = 0; r < ROWS; ++r) quants.load(rows[r], offset, part, words[r]);
            GGUF_UNROLL
            for (uint c = 0; c < 4; c += 2) {
                typename Activation<InT>::Staged xl[X_ROWS][8], xh[X_ROWS][8];
                GGUF_UNROLL
                for (uint m = 0; m < X_ROWS; ++m) {
                    device const InT* x_part = x + m * x_stride + 16 * part + 4 * c;
                    load8<WIDE>(x_part, xl[m]);
                    load8<WIDE>(x_part + 32, xh[m]);
                    GGUF_UNROLL
                    for (uint i = 0; i < 8; ++i) {
                        xl_sum[m] += (float)xl[m][i];
                        xh_sum[m] += (float)xh[m][i];
                    }
                }
                GGUF_UNROLL
                for (uint r = 0; r < ROWS; ++r) {
                    GGUF_UNROLL
                    for (uint m = 0; m < X_ROWS; ++m) {
                        quants.dot4(words[r], c, xl[m], xh[m], low[r][m], high[r][m]);
                        quants.dot4(words[r], c + 1, xl[m] + 4, xh[m] + 4, low[r][m], high[r][m]);
                    }
                }
            }
        }
        GGUF_UNROLL
        for (uint r = 0; r < ROWS; ++r) {
            GGUF_UNROLL
            for (uint m = 0; m < X_ROWS; ++m) {
                thread float& total = sum[r * X_ROWS + m];
                total = factors.apply(rows[r][offset], Quants::centred(low[r][m], xl_sum[m]),
                                      Quants::centred(high[r][m], xh_sum[m]), xl_sum[m], xh_sum[m],
                                      total);
            }
        }
    }

    static float finish(float sum) { return sum; }
};

}  // namespace gguf
