// Q6_K: super-blocks of 256 weights in 210 bytes (layout: ggml's block_q6_K).
//
//   bytes 0-127    low 4 bits   weight = d scale[s] (q - 32), sub-blocks of 16
//   bytes 128-191  high 2 bits
//   bytes 192-207  16 scales, int8
//   bytes 208-209  half d
//
// Each half h of 128 weights is four runs of 32: weight 128 h + 32 run + i has its low
// bits in byte 64 h + 32 (run & 1) + i, low nibble for runs 0 and 1, high for 2 and 3,
// and its high bits at bit 2 run of byte 128 + 32 h + i. Blocks are 2-byte aligned.
#pragma once
#include "../../ops/operand.h"

namespace gguf {

struct Q6_K {
    struct Block {
        uchar low[128];
        uchar high[64];
        int8_t scales[16];
        half d;
    };
    static_assert(sizeof(Block) == 210, "block_q6_K has 210 bytes");
    enum : uint { WEIGHTS = 256, BYTES = sizeof(Block) };
    enum : uint {
        LOW = GGUF_OFFSET(low),
        HIGH = GGUF_OFFSET(high),
        SCALES = GGUF_OFFSET(scales),
        D = GGUF_OFFSET(d)
    };
    typedef ushort Word;  // the widest load that the alignment of the blocks allows

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* block, uint i, thread float* w) {
        device const Block* b = (device const Block*)block;
        const uint h = i / 8, run = i / 2 % 4, k = i % 2 * 16;
        const float d = (float)b->d * (float)b->scales[i];
        device const uchar* low = b->low + 64 * h + 32 * (run & 1) + k;
        device const uchar* high = b->high + 32 * h + k;
        const uint low_shift = run / 2 * 4, high_shift = run * 2;
        GGUF_UNROLL
        for (uint n = 0; n < 16; ++n) {
            const uint q = (low[n] >> low_shift & 15) | (high[n] >> high_shift & 3) << 4;
            w[n] = d * (float)((int)q - 32);
        }
    }

    // Eight groups of a row, half a block, as the left operands of matrix products.
    struct Matrix {
        enum : uint { GROUP = 16, BITS = 6, HAS_OFFSETS = 1 };

        device const Word* low;
        device const Word* high;
        device const int8_t* scales;
        float d;

        void load(device const uchar* row, uint group) {
            device const uchar* block = row + group / 16 * BYTES;
            const uint h = group / 8 % 2;
            low = (device const Word*)(block + LOW + 64 * h);
            high = (device const Word*)(block + HIGH + 32 * h);
            scales = (device const int8_t*)(block + SCALES + 8 * h);
            d = (float)*(device const half*)(block + D);
        }
        float scale(uint i) const { return d * (float)scales[i]; }
        // What each weight of group i has besides scale times its operand 64 + q.
        float offset(uint i) const { return -96.0f * scale(i); }
        // Weights 4 t .. 4 t + 3 of group i: q[e] is the pair of weights e and e + 2.
        struct Words {
            uint low, high;
        };
        Words words(uint i, uint t) const {
            const uint k = i % 2 * 8 + 2 * t;  // in words
            device const Word* l = low + (i / 2 & 1) * 16 + k;
            device const Word* h = high + k;
            return {as_type<uint>(ushort2(l[0], l[1])), as_type<uint>(ushort2(h[0], h[1]))};
        }
        template <typename X>
        void quants(Words w, uint i, uint, thread typename X::Pair* q) const {
            const uint run = i / 2;
            GGUF_UNROLL
            for (uint e = 0; e < 2; ++e)
                q[e] = pair<X, BITS>(field<X, BITS, 4>(w.low, run / 2 * 4 + 8 * e) |
                                     field<X, BITS, 2>(w.high, run * 2 + 8 * e, 4));
        }
    };

    // The mat-vec of one lane. Eight lanes share a super-block; lane (h, j) owns the
    // positions 8 j .. 8 j + 7 of all four runs of half h: 32 weights with 4 scales.
    //
    // No conversions: ones are OR-ed outside each field and the fields AND-ed together,
    // which leaves halves of exponent 15, 1.9375 + q / 1024, for runs 0 and 1 and of exponent
    // 11, (1 + (15 + 16 q) / 1024) / 16, for runs 2 and 3. A half is a free operand of a float
    // FMA; its offset, taken at q = 32, leaves with the sum of x that starts the chain.
    template <uint ROWS, uint X_ROWS>
    struct MatVec {
        // Neighbours in x belong to neighbouring lanes: wide loads gain nothing.
        enum : uint { LANES = 8, WIDE_X = 0 };

        uint h, j;
        uint low, high;  // of the lane's bytes in a block, in words
        uint scales;     // and in bytes

        MatVec(uint lane, bool) {
            h = lane / 4;
            j = lane % 4;
            low = LOW / 2 + 32 * h + 4 * j;
            high = HIGH / 2 + 16 * h + 4 * j;
            scales = SCALES + 8 * h + j / 2;
        }

        // Eight bytes as four words: words[2 i] holds bytes 4 i and 4 i + 2 in the low
        // bytes of its halves, words[2 i + 1] bytes 4 i + 1 and 4 i + 3.
        static void load8_bytes(device const Word* p, thread uint* words) {
            words[0] = as_type<uint>(ushort2(p[0], p[1]));
            words[1] = words[0] >> 8;
            words[2] = as_type<uint>(ushort2(p[2], p[3]));
            words[3] = words[2] >> 8;
        }

        uint first_weight() const { return 128 * h + 8 * j; }

        template <bool WIDE, typename InT>
        void step(device const InT* x, uint x_stride, device const Word* const thread* rows,
                  uint offset, thread float* sum) const {
            typename Activation<InT>::Staged v[X_ROWS][4][8];
            float start[X_ROWS][4];
            GGUF_UNROLL
            for (uint i = 0; i < X_ROWS * 4; ++i) {
                const uint m = i / 4, run = i % 4;
                load8<WIDE>(x + m * x_stride + 32 * run, v[m][run]);
                float total = (float)v[m][run][0];
                GGUF_UNROLL
                for (uint k = 1; k < 8; ++k) total += (float)v[m][run][k];
                start[m][run] = total * (run < 2 ? -1.96875f : -0.09466552734375f);
            }
            GGUF_UNROLL
            for (uint r = 0; r < ROWS; ++r) {
                uint low01[4], low23[4], pairs[4];
                load8_bytes(rows[r] + (offset + low), low01);
                load8_bytes(rows[r] + (offset + low + 16), low23);
                load8_bytes(rows[r] + (offset + high), pairs);
                float s[X_ROWS][4];
                GGUF_UNROLL
                for (uint i = 0; i < X_ROWS * 4; ++i) s[i / 4][i % 4] = start[i / 4][i % 4];
                GGUF_UNROLL
                for (uint w = 0; w < 4; ++w) {
                    const uint a = low01[w], c = low23[w], bits = pairs[w] & 0x00FF00FFu;
                    const uint h4 = bits << 4, h2 = bits << 2;
                    const half2 q[4] = {
                        as_type<half2>((a | 0xFFF0FFF0u) & (h4 | 0x3FCF3FCFu)),
                        as_type<half2>((c | 0xFFF0FFF0u) & (h2 | 0x3FCF3FCFu)),
                        as_type<half2>((a | 0xFF0FFF0Fu) & (h4 | 0x2CFF2CFFu)),
                        as_type<half2>((c | 0xFF0FFF0Fu) & (h2 | 0x2CFF2CFFu)),
                    };
                    const uint first = w / 2 * 4 + w % 2;  // the position of the word's low half
                    GGUF_UNROLL
                    for (uint i = 0; i < X_ROWS * 4; ++i) {
                        const uint m = i / 4, run = i % 4;
                        s[m][run] = fma((float)v[m][run][first], (float)q[run].x, s[m][run]);
                        s[m][run] = fma((float)v[m][run][first + 2], (float)q[run].y, s[m][run]);
                    }
                }
                GGUF_UNROLL
                for (uint m = 0; m < X_ROWS; ++m) {
                    thread float& total = sum[r * X_ROWS + m];
                    total = combine(rows[r], offset, s[m], total);
                }
            }
        }

        // Applies the four scales of the lane's runs, as halves 1152 + scale (see mantissa.h).
        float combine(device const Word* row, uint offset, thread const float* s, float sum) const {
            device const uchar* bytes = (device const uchar*)row;
            const uint first = 2 * offset + scales;
            const ushort2 t01 = ushort2(bytes[first], bytes[first + 2]);
            const ushort2 t23 = ushort2(bytes[first + 4], bytes[first + 6]);
            const half2 s01 = above_1152(as_type<uint>(t01));
            const half2 s23 = above_1152(as_type<uint>(t23));
            float scaled = ((float)s01.x - 1152.0f) * s[0];
            scaled = fma((float)s01.y - 1152.0f, s[1], scaled);
            scaled = fma((float)s23.x - 1152.0f, s[2], scaled);
            scaled = fma((float)s23.y - 1152.0f, s[3], scaled);
            return fma((float)as_type<half>(row[offset + D / 2]), scaled, sum);
        }

        static float finish(float sum) { return sum * 1024.0f; }
    };
};

}  // namespace gguf

typedef gguf::Q6_K Format;
