// What Q4_0, Q4_1, Q5_0 and Q5_1 share: blocks of 32 weights, of which byte i of 16 holds
// weight i (low nibble) and weight 16 + i (high), and a fifth bit may lie in a word apart.
//
// A format F gives
//   factors(block): (scale, minimum), weight = scale q + minimum with q from 0 on;
//   fifth(block): the word of fifth bits, bit i of weight i, or 0;
//   QUANTS: where the 16 bytes are in a block; BITS: 4 or 5; ZERO: the q of weight 0 where
//   there is no minimum of its own, else 0.
//
// Its words are of 2 bytes or more, and so are the loads here: QUANTS is even.
#pragma once
#include "../../ops/operand.h"

namespace gguf {

// Weights 16 i .. 16 i + 15 of a block.
template <typename F>
inline void decode16_of_32(device const uchar* block, uint i, thread float* w) {
    const float2 factors = F::factors(block);
    const uint fifth = F::fifth(block) >> 16 * i;
    GGUF_UNROLL
    for (uint k = 0; k < 16; ++k) {
        const uint q = (block[F::QUANTS + k] >> 4 * i & 15) | (fifth >> k & 1) << 4;
        // A zero of negative scale is negative, as in ggml.
        w[k] = F::ZERO ? factors.x * (float)((int)q - (int)F::ZERO)
                       : fma(factors.x, (float)q, factors.y);
    }
}

// Eight groups of a row, here eight blocks, as the left operands of matrix products.
template <typename F>
struct Matrix32 {
    enum : uint { GROUP = 32, HAS_OFFSETS = 1 };
    static_assert(F::WEIGHTS == 32 && F::QUANTS % 2 == 0, "block_32.h: 32 weights, halfwords");
    static_assert(F::BITS == 4 || F::BITS == 5, "block_32.h: nibbles, and perhaps fifth bits");

    device const uchar* blocks;

    void load(device const uchar* row, uint group) { blocks = row + group * F::BYTES; }
    float scale(uint i) const { return F::factors(blocks + i * F::BYTES).x; }
    // What each weight of group i has besides scale times its operand 2^BITS + q.
    float offset(uint i) const {
        const float2 factors = F::factors(blocks + i * F::BYTES);
        return fma(-(float)(1u << F::BITS), factors.x, factors.y);
    }
    // Weights 8 t .. 8 t + 7 of group i: q[e] is the pair of weights e and e + 4.
    struct Words {
        uint even, odd;  // halfwords
        uint fifth;
    };
    Words words(uint i, uint t) const {
        device const uchar* block = blocks + i * F::BYTES;
        device const ushort* quants = (device const ushort*)(block + F::QUANTS + t % 2 * 8);
        return {as_type<uint>(ushort2(quants[0], quants[2])),
                as_type<uint>(ushort2(quants[1], quants[3])), F::fifth(block)};
    }
    template <typename X>
    void quants(Words w, uint, uint t, thread typename X::Pair* q) const {
        const uint shift = t / 2 * 4, even = w.even >> shift, odd = w.odd >> shift;
        const uint bits = F::BITS == 5 ? w.fifth >> 8 * t : 0u;
        const uint fifth = (bits & 0xFu) | (bits & 0xF0u) << 12;
        GGUF_UNROLL
        for (uint e = 0; e < 4; ++e) {
            uint fields = field<X, F::BITS, 4>(e < 2 ? even : odd, e % 2 * 8);
            if (F::BITS == 5) fields |= field<X, F::BITS, 1>(fifth, e, 4);
            q[e] = pair<X, F::BITS>(fields);
        }
    }
};

// The mat-vec of one lane. Two lanes share a block; lane h owns quant bytes 8 h .. 8 h + 7,
// that is weights 8 h .. + 7 and 16 + 8 h .. + 7.
//
// No conversions: a quant becomes the half 1024 + 16 q (see mantissa.h); the 1024 leaves with the
// sum of x that starts the chain and that the minimum needs anyway.
template <typename F, uint ROWS, uint X_ROWS>
struct MatVec32 {
    enum : uint { LANES = 2, WIDE_X = 0 };
    typedef typename F::Word Word;

    uint h;

    MatVec32(uint lane, bool) { h = lane; }

    uint first_weight() const { return 8 * h; }

    template <bool WIDE, typename InT>
    void step(device const InT* x, uint x_stride, device const Word* const thread* rows,
              uint offset, thread float* sum) const {
        typename Activation<InT>::Staged v[X_ROWS][16];
        float x_sum[X_ROWS];
        GGUF_UNROLL
        for (uint m = 0; m < X_ROWS; ++m) x_sum[m] = load16<WIDE, 16>(x + m * x_stride, v[m]);
        GGUF_UNROLL
        for (uint r = 0; r < ROWS; ++r) {
            device const uchar* block = (device const uchar*)(rows[r] + offset);
            device const ushort* quants = (device const ushort*)(block + F::QUANTS) + 4 * h;
            const uint bits = F::BITS == 5 ? F::fifth(block) >> 8 * h : 0u;
            float s[X_ROWS];
            GGUF_UNROLL
            for (uint m = 0; m < X_ROWS; ++m) s[m] = -1024.0f * x_sum[m];
            GGUF_UNROLL
            for (uint c = 0; c < 4; ++c) {  // weights 4 c .. 4 c + 3 of the lane's
                const uint w = as_type<uint>(ushort2(quants[c % 2 * 2], quants[c % 2 * 2 + 1]));
                uint q = w >> c / 2 * 4 & 0x0F0F0F0Fu;
                if (F::BITS == 5) q |= spread(bits >> (c / 2 * 16 + c % 2 * 4)) << 4;
                const half2 q02 = even_bytes(q), q13 = odd_bytes(q);
                GGUF_UNROLL
                for (uint m = 0; m < X_ROWS; ++m) {
                    s[m] = fma((float)v[m][4 * c], (float)q02.x, s[m]);
                    s[m] = fma((float)v[m][4 * c + 1], (float)q13.x, s[m]);
                    s[m] = fma((float)v[m][4 * c + 2], (float)q02.y, s[m]);
                    s[m] = fma((float)v[m][4 * c + 3], (float)q13.y, s[m]);
                }
            }
            const float2 factors = F::factors(block);
            GGUF_UNROLL
            for (uint m = 0; m < X_ROWS; ++m) {
                thread float& total = sum[r * X_ROWS + m];
                total = fma(factors.x * 0.0625f, s[m], fma(factors.y, x_sum[m], total));
            }
        }
    }

    // The four lowest bits, one to a byte.
    static uint spread(uint bits) { return ((bits & 0xFu) * 0x00204081u) & 0x01010101u; }

    static float finish(float sum) { return sum; }
};

}  // namespace gguf
