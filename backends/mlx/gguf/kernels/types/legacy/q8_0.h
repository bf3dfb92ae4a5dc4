// Q8_0: blocks of 32 weights in 34 bytes (layout: ggml's block_q8_0).
//
//   bytes 0-1   half d   weight = d q
//   bytes 2-33  32 quants, int8
//
// Blocks are 2-byte aligned.
#pragma once
#include "../../ops/operand.h"

namespace gguf {

struct Q8_0 {
    struct Block {
        half d;
        int8_t quants[32];
    };
    static_assert(sizeof(Block) == 34, "block_q8_0 has 34 bytes");
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block) };
    enum : uint { D = GGUF_OFFSET(d), QUANTS = GGUF_OFFSET(quants) };
    typedef ushort Word;  // the widest load that the alignment of the blocks allows

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* block, uint i, thread float* w) {
        device const Block* b = (device const Block*)block;
        const float d = (float)b->d;
        GGUF_UNROLL
        for (uint k = 0; k < 16; ++k) w[k] = d * (float)b->quants[16 * i + k];
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
        struct Words {};  // read where they are needed: ahead, they cost 7 percent on an H100
        Words words(uint, uint) const { return {}; }
        template <typename X>
        void quants(Words, uint i, uint t, thread typename X::Pair* q) const {
            device const Word* words = (device const Word*)blocks[i].quants + 4 * t;
            GGUF_UNROLL
            for (uint e = 0; e < 4; ++e) {
                const uint w = as_type<uint>(ushort2(words[e / 2], words[2 + e / 2]));
                const half2 v = above_1152(w >> e % 2 * 8 & 0x00FF00FFu);
                q[e] = X::exact(v.x - 1152.0h, v.y - 1152.0h);
            }
        }
    };

    // The mat-vec of one lane. Two lanes share a block, 16 weights each.
    //
    // No conversions: a quant becomes the half 1152 + q (see mantissa.h); the 1152 leaves with the
    // sum of x that starts the chain.
    template <uint ROWS, uint X_ROWS>
    struct MatVec {
        // Neighbours in x belong to neighbouring lanes: wide loads gain nothing (on an H100
        // they cost 6 percent).
        enum : uint { LANES = 2, WIDE_X = 0 };

        uint half_block;

        MatVec(uint lane, bool) { half_block = lane; }

        uint first_weight() const { return 16 * half_block; }

        template <bool WIDE, typename InT>
        void step(device const InT* x, uint x_stride, device const Word* const thread* rows,
                  uint offset, thread float* sum) const {
            typename Activation<InT>::Staged v[X_ROWS][16];
            float start[X_ROWS];
            GGUF_UNROLL
            for (uint m = 0; m < X_ROWS; ++m)
                start[m] = -1152.0f * load16<WIDE, 8>(x + m * x_stride, v[m]);
            const uint quants = offset + QUANTS / 2 + 8 * half_block;
            GGUF_UNROLL
            for (uint r = 0; r < ROWS; ++r) {
                float s[X_ROWS];
                GGUF_UNROLL
                for (uint m = 0; m < X_ROWS; ++m) s[m] = start[m];
                GGUF_UNROLL
                for (uint i = 0; i < 16; i += 4) {
                    const uint2 bytes = bytes_apart(rows[r] + (quants + i / 2));
                    const half2 q01 = above_1152(bytes.x);
                    const half2 q23 = above_1152(bytes.y);
                    GGUF_UNROLL
                    for (uint m = 0; m < X_ROWS; ++m) {
                        s[m] = fma((float)v[m][i], (float)q01.x, s[m]);
                        s[m] = fma((float)v[m][i + 1], (float)q01.y, s[m]);
                        s[m] = fma((float)v[m][i + 2], (float)q23.x, s[m]);
                        s[m] = fma((float)v[m][i + 3], (float)q23.y, s[m]);
                    }
                }
                GGUF_UNROLL
                for (uint m = 0; m < X_ROWS; ++m) {
                    thread float& total = sum[r * X_ROWS + m];
                    total = fma((float)as_type<half>(rows[r][offset + D / 2]), s[m], total);
                }
            }
        }

        static float finish(float sum) { return sum; }
    };
};

}  // namespace gguf

typedef gguf::Q8_0 Format;
