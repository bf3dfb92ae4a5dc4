// What a type inherits that has no kernels of its own: every operation, from three pieces.
//
// A format F derives from Grouped<F, Word>, with the widest load that its blocks' alignment
// allows, and gives
//   Block, WEIGHTS, BYTES: its block;
//   GROUP: 16 or 32, the weights that share a scale;
//   scale(block, g): the scale of group g of a block;
//   quants4(block, i, h): the quants of weights 4 i .. 4 i + 3, small numbers that bfloat holds,
//   or quants8(block, i, h): 8 of them. As halves, to be free operands of float FMAs, and made
//   by no conversion: the half h stands for the quant q where h = ZERO + UNIT q;
// where ZERO is not 0, ZERO and UNIT, a power of two: ZERO leaves with the sum of x;
// where weight = scale q + minimum and not scale q, HAS_MINIMA = 1 and minimum(block, g).
#pragma once
#include "../ops/operand.h"

namespace gguf {

// A block: its row and the words before it. Kept apart, so that a load needs additions of 32
// bits only, and none for what is known when compiled.
template <typename Word>
struct BlockAt {
    device const Word* row;
    uint offset;

    Word operator[](uint i) const { return row[offset + i]; }
    uint byte(uint i) const { return ((device const uchar*)row)[offset * (uint)sizeof(Word) + i]; }
};

// Eight groups of a row, as the left operands of matrix products.
template <typename F>
struct GroupedMatrix {
    enum : uint {
        GROUP = F::GROUP,
        GROUPS = F::WEIGHTS / F::GROUP,  // of a block
        HAS_OFFSETS = F::HAS_MINIMA,
    };
    static_assert(GROUP == 16 || GROUP == 32, "Grouped: groups of 16 or 32 weights");
    static_assert(F::WEIGHTS % GROUP == 0, "Grouped: whole groups in a block");
    typedef typename F::Word Word;

    device const Word* row;
    uint first;

    void load(device const uchar* start, uint group) {
        row = (device const Word*)start;
        first = group;
    }
    BlockAt<Word> block(uint i) const {
        return {row, (first + i) / GROUPS * (F::BYTES / (uint)sizeof(Word))};
    }
    float scale(uint i) const { return F::scale(block(i), (first + i) % GROUPS); }
    // What each weight of group i has besides scale times quant.
    float offset(uint i) const { return F::minimum(block(i), (first + i) % GROUPS); }
    // Weights 2 E t .. 2 E t + 2 E - 1 of group i, of 8 E weights: q[e] is the pair of weights
    // e and e + E.
    struct Words {};  // read where they are decoded
    Words words(uint, uint) const { return {}; }
    template <typename X>
    void quants(Words, uint i, uint t, thread typename X::Pair* q) const {
        constexpr uint E = GROUP / 8;
        const uint four = ((first + i) % GROUPS * GROUP + 2 * E * t) / 4;
        half v[2 * E];
        if (E == 2)
            F::quants4(block(i), four, v);
        else
            F::quants8(block(i), four / 2, v);
        GGUF_UNROLL
        for (uint e = 0; e < E; ++e) q[e] = X::exact(F::exact(v[e]), F::exact(v[e + E]));
    }
};

// The mat-vec of one lane: 16 weights of a block, which share a scale.
template <typename F, uint ROWS, uint X_ROWS>
struct GroupedMatVec {
    enum : uint { LANES = F::WEIGHTS / 16, WIDE_X = 0 };
    static_assert((F::UNIT & (F::UNIT - 1)) == 0, "Grouped: UNIT is a power of two");
    typedef typename F::Word Word;

    uint part;

    GroupedMatVec(uint lane, bool) { part = lane; }

    uint first_weight() const { return 16 * part; }

    template <bool WIDE, typename InT>
    void step(device const InT* x, uint x_stride, device const Word* const thread* rows,
              uint offset, thread float* sum) const {
        typename Activation<InT>::Staged v[X_ROWS][16];
        float start[X_ROWS], scaled_sum[X_ROWS];
        GGUF_UNROLL
        for (uint m = 0; m < X_ROWS; ++m) {
            const float x_sum = load16<WIDE, 8>(x + m * x_stride, v[m]);
            start[m] = F::ZERO ? -(float)F::ZERO * x_sum : 0.0f;
            scaled_sum[m] = (float)F::UNIT * x_sum;
        }
        const uint group = 16 * part / F::GROUP;
        GGUF_UNROLL
        for (uint r = 0; r < ROWS; ++r) {
            const BlockAt<Word> block = {rows[r], offset};
            float s[X_ROWS];
            GGUF_UNROLL
            for (uint m = 0; m < X_ROWS; ++m) s[m] = start[m];
            GGUF_UNROLL
            for (uint c = 0; c < 2; ++c) {
                half q[8];
                F::quants8(block, 2 * part + c, q);
                GGUF_UNROLL
                for (uint m = 0; m < X_ROWS; ++m) {
                    GGUF_UNROLL
                    for (uint e = 0; e < 8; ++e)
                        s[m] = fma((float)v[m][8 * c + e], (float)q[e], s[m]);
                }
            }
            GGUF_UNROLL
            for (uint m = 0; m < X_ROWS; ++m) {
                thread float& total = sum[r * X_ROWS + m];
                if (F::HAS_MINIMA) total = fma(F::minimum(block, group), scaled_sum[m], total);
                total = fma(F::scale(block, group), s[m], total);
            }
        }
    }

    static float finish(float sum) { return sum / (float)F::UNIT; }
};

template <typename F, typename BlockWord>
struct Grouped {
    enum : uint { HAS_MINIMA = 0, ZERO = 0, UNIT = 1 };
    typedef BlockWord Word;
    typedef GroupedMatrix<F> Matrix;
    template <uint ROWS, uint X_ROWS>
    using MatVec = GroupedMatVec<F, ROWS, X_ROWS>;

    static float minimum(BlockAt<Word>, uint) { return 0.0f; }

    static void quants4(BlockAt<Word> block, uint i, thread half* h) {
        half v[8];
        F::quants8(block, i / 2, v);
        GGUF_UNROLL
        for (uint e = 0; e < 4; ++e) h[e] = i % 2 ? v[4 + e] : v[e];
    }
    static void quants8(BlockAt<Word> block, uint i, thread half* h) {
        F::quants4(block, 2 * i, h);
        F::quants4(block, 2 * i + 1, h + 4);
    }
    // The quant that a half stands for.
    static half exact(half h) {
        constexpr float UNIT = F::UNIT, ZERO = F::ZERO;
        return F::ZERO ? fma(h, (half)(1.0f / UNIT), (half)(-ZERO / UNIT)) : h;
    }

    // Weights 16 i .. 16 i + 15 of a block.
    static void decode16(device const uchar* bytes, uint i, thread float* w) {
        const BlockAt<Word> block = {(device const Word*)bytes, 0};
        const uint group = 16 * i / F::GROUP;
        const float scale = F::scale(block, group);
        GGUF_UNROLL
        for (uint c = 0; c < 2; ++c) {
            half q[8];
            F::quants8(block, 2 * i + c, q);
            GGUF_UNROLL
            for (uint e = 0; e < 8; ++e)
                w[8 * c + e] = F::HAS_MINIMA
                                   ? fma(scale, (float)exact(q[e]), F::minimum(block, group))
                                   : scale * (float)exact(q[e]);
        }
    }
};

// The half at byte i, which is even.
inline float half_at(BlockAt<ushort> block, uint i) { return (float)as_type<half>(block[i / 2]); }

// Four bytes from word i on.
inline uint word_at(BlockAt<ushort> block, uint i) {
    return as_type<uint>(ushort2(block[i], block[i + 1]));
}

// The bytes of a word, at most 63 each, as halves 1024 + 16 byte.
inline void bytes4(uint word, thread half* h) {
    const half2 h02 = even_bytes(word), h13 = odd_bytes(word);
    h[0] = h02.x;
    h[1] = h13.x;
    h[2] = h02.y;
    h[3] = h13.y;
}

// The lowest nibbles of four bytes as indices of a table of 16 values.
inline void look_up4(constant half* table, uint word, thread half* q) {
    GGUF_UNROLL
    for (uint e = 0; e < 4; ++e) q[e] = table[word >> 8 * e & 15];
}

}  // namespace gguf
