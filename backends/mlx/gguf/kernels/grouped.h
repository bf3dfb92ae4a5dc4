// What a type inherits that has no kernels of its own: every operation, from three pieces.
//
// A format F derives from Grouped<F> and gives
//   Block, WEIGHTS, BYTES: its block;
//   GROUP: 16 or 32, the weights that share a scale;
//   scale(block, g): the scale of group g of a block;
//   quants4(block, i, q): weights 4 i .. 4 i + 3 of a block, integers that bfloat holds;
// and, where weight = scale q + minimum and not scale q, HAS_MINIMA = 1 and minimum(block, g).
// It loads no wider than the alignment of its blocks allows.
#pragma once
#include "operand.h"

namespace gguf {

// Eight groups of a row, as the left operands of matrix products.
template <typename F> struct GroupedMatrix {
    enum : uint {
        GROUP = F::GROUP,
        GROUPS = F::WEIGHTS / F::GROUP,  // of a block
        HAS_OFFSETS = F::HAS_MINIMA,
    };

    device const uchar* row;
    uint first;

    void load(device const uchar* from, uint group) {
        row = from;
        first = group;
    }
    device const uchar* block(uint i) const { return row + (first + i) / GROUPS * F::BYTES; }
    float scale(uint i) const { return F::scale(block(i), (first + i) % GROUPS); }
    // What each weight of group i has besides scale times quant.
    float offset(uint i) const { return F::minimum(block(i), (first + i) % GROUPS); }
    // Weights 2 E t .. 2 E t + 2 E - 1 of group i, of 8 E weights: q[e] is the pair of weights
    // e and e + E.
    template <typename X> void quants(uint i, uint t, thread typename X::Pair* q) const {
        constexpr uint E = GROUP / 8;
        const uint at = ((first + i) % GROUPS * GROUP + 2 * E * t) / 4;
        int v[2 * E];
        GGUF_UNROLL for (uint k = 0; k < E / 2; ++k) F::quants4(block(i), at + k, v + 4 * k);
        GGUF_UNROLL for (uint e = 0; e < E; ++e) q[e] = X::exact(v[e], v[e + E]);
    }
};

// The mat-vec of one lane: 16 weights of a block, which share a scale.
template <typename F, uint ROWS> struct GroupedMatVec {
    enum : uint { LANES = F::WEIGHTS / 16, WIDE_X = 0 };
    typedef typename F::Word Word;

    uint part;

    GroupedMatVec(uint lane, bool) { part = lane; }

    uint first_weight() const { return 16 * part; }

    // Adds the lane's part of one block of ROWS rows to `sum`. `x`: activations from the
    // lane's first weight on. The block lies `at` words from the start of each row.
    template <bool WIDE, typename InT>
    void step(device const InT* x, device const Word* const thread* rows, uint at,
              thread float* sum) const {
        typename Activation<InT>::Staged v[16];
        load8<WIDE>(x, v);
        load8<WIDE>(x + 8, v + 8);
        float x_sum = 0.0f;
        if (F::HAS_MINIMA) {
            GGUF_UNROLL for (uint i = 0; i < 16; ++i) x_sum += (float)v[i];
        }
        const uint group = 16 * part / F::GROUP;
        GGUF_UNROLL for (uint r = 0; r < ROWS; ++r) {
            device const uchar* block = (device const uchar*)(rows[r] + at);
            float s = 0.0f;
            GGUF_UNROLL for (uint c = 0; c < 4; ++c) {
                int q[4];
                F::quants4(block, 4 * part + c, q);
                GGUF_UNROLL for (uint e = 0; e < 4; ++e)
                    s = fma((float)v[4 * c + e], (float)q[e], s);
            }
            if (F::HAS_MINIMA) sum[r] = fma(F::minimum(block, group), x_sum, sum[r]);
            sum[r] = fma(F::scale(block, group), s, sum[r]);
        }
    }

    static float finish(float sum) { return sum; }
};

template <typename F> struct Grouped {
    enum : uint { HAS_MINIMA = 0 };
    typedef uchar Word;
    typedef GroupedMatrix<F> Matrix;
    template <uint ROWS> using MatVec = GroupedMatVec<F, ROWS>;

    static float minimum(device const uchar*, uint) { return 0.0f; }

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* block, uint i, thread float* w) {
        const uint group = 16 * i / F::GROUP;
        const float scale = F::scale(block, group);
        GGUF_UNROLL for (uint c = 0; c < 4; ++c) {
            int q[4];
            F::quants4(block, 4 * i + c, q);
            GGUF_UNROLL for (uint e = 0; e < 4; ++e)
                w[4 * c + e] = F::HAS_MINIMA
                                   ? fma(scale, (float)q[e], F::minimum(block, group))
                                   : scale * (float)q[e];
        }
    }
};

// The half at `p`.
inline float half_at(device const uchar* p) { return (float)*(device const half*)p; }

// Four bytes from an even address on.
inline uint word_at(device const uchar* p) {
    device const ushort* from = (device const ushort*)p;
    return as_type<uint>(ushort2(from[0], from[1]));
}

// Four bytes from any address on.
inline uint word_of_bytes(device const uchar* p) {
    return p[0] | (uint)p[1] << 8 | (uint)p[2] << 16 | (uint)p[3] << 24;
}

// The lowest nibbles of four bytes as indices of a table of 16 values.
inline void look_up4(constant int8_t* table, uint word, thread int* q) {
    GGUF_UNROLL for (uint e = 0; e < 4; ++e) q[e] = table[word >> 8 * e & 15];
}

}  // namespace gguf
