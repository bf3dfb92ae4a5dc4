// Q8_0: blocks of 32 weights in 34 bytes (layout: ggml's block_q8_0).
//
//   bytes 0-1   half d   weight = d q
//   bytes 2-33  32 quants, int8
//
// Blocks are 2-byte aligned.
#pragma once
#include "operand.h"

namespace gguf {

struct Q8_0 {
    struct Block {
        half d;
        int8_t quants[32];
    };
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block) };
    typedef ushort Word;  // the widest load that the alignment of the blocks allows

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* block, uint i, thread float* w) {
        device const Block* b = (device const Block*)block;
        const float d = (float)b->d;
        GGUF_UNROLL for (uint k = 0; k < 16; ++k) w[k] = d * (float)b->quants[16 * i + k];
    }

    // Eight groups of a row, here eight blocks, as the left operands of matrix products.
    struct Matrix {
        enum : uint { GROUP = 32, HAS_OFFSETS = 0 };

        device const Block* blocks;

        void load(device const uchar* row, uint group) {
            blocks = (device const Block*)(row + group * BYTES);
        }
        float scale(uint i) const { return (float)blocks[i].d; }
        // The operands are the quants themselves: int8 is exact in every type.
        float offset(uint) const { return 0.0f; }
        // Weights 8 t .. 8 t + 7 of group i: q[e] is the pair of weights e and e + 4.
        template <typename X> void quants(uint i, uint t, thread typename X::Pair* q) const {
            device const int8_t* from = blocks[i].quants + 8 * t;
            GGUF_UNROLL for (uint e = 0; e < 4; ++e) q[e] = X::exact(from[e], from[e + 4]);
        }
    };

    // The mat-vec of one lane. Two lanes share a block, 16 weights each.
    //
    // No conversions: a quant with its sign bit flipped is the mantissa of the half
    // 1152 + q; the 1152 leaves with the sum of x that starts the chain.
    template <uint ROWS> struct MatVec {
        // Neighbours in x belong to neighbouring lanes: wide loads gain nothing (on an H100
        // they cost 6 percent).
        enum : uint { LANES = 2, WIDE_X = 0 };

        uint half_block;

        MatVec(uint lane, bool) { half_block = lane; }

        uint first_weight() const { return 16 * half_block; }

        // Adds the lane's part of one block of ROWS rows to `sum`. `x`: activations from
        // the lane's first weight on. The block lies `at` words from the start of each row.
        template <bool WIDE, typename InT> void step(device const InT* x,
                                                     device const Word* const thread* rows, uint at,
                                                     thread float* sum) const {
            typename Activation<InT>::Staged v[16];
            load8<WIDE>(x, v);
            load8<WIDE>(x + 8, v + 8);
            float start = (float)v[0];
            GGUF_UNROLL for (uint i = 1; i < 16; ++i) start += (float)v[i];
            start *= -1152.0f;
            const uint quants = at + 1 + 8 * half_block;
            GGUF_UNROLL for (uint r = 0; r < ROWS; ++r) {
                float s = start;
                GGUF_UNROLL for (uint i = 0; i < 16; i += 4) {
                    device const Word* p = rows[r] + (quants + i / 2);
                    const uint w = as_type<uint>(ushort2(p[0], p[1]));
                    const half2 q02 = as_type<half2>((w & 0x00FF00FFu) ^ 0x64806480u);
                    const half2 q13 = as_type<half2>((w >> 8 & 0x00FF00FFu) ^ 0x64806480u);
                    s = fma((float)v[i], (float)q02.x, s);
                    s = fma((float)v[i + 1], (float)q13.x, s);
                    s = fma((float)v[i + 2], (float)q02.y, s);
                    s = fma((float)v[i + 3], (float)q13.y, s);
                }
                sum[r] = fma((float)as_type<half>(rows[r][at]), s, sum[r]);
            }
        }

        static float finish(float sum) { return sum; }
    };
};

}  // namespace gguf

typedef gguf::Q8_0 Format;
