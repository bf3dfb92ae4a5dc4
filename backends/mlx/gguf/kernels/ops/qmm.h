// Linear, mat-mat: many rows of x. Prefill.
//
// A threadgroup of four simdgroups computes a tile of 64 outputs for 32 rows of x, 32
// weights of each row at a time. Every weight is decoded once for the 32 rows, to an exact
// small integer in the type of x; its group's scale is applied to sums in float, so that
// nothing is rounded before. Simdgroup s computes outputs 32 (s % 2) .. + 31 for rows
// 16 (s / 2) .. + 15 of x.
//
// In the tiles, a run of 2 E neighbours (group of 8 E weights) stands in the order in which
// Matrix::quants pairs them: 0, E, 1, E + 1, ...; of weights and activations alike.
#pragma once
#include "fragment.h"

namespace gguf {

template <typename F, typename InT>
struct MatMat {
    enum : uint {
        N = 64,  // outputs of a tile
        M = 32,  // rows of x of a tile
        K = 32,  // weights of a row taken at a time
        GROUP = F::Matrix::GROUP,
        GROUPS = K / GROUP,  // groups taken at a time
        E = GROUP / 8,
        STRIDE = K + 16 / sizeof(InT),   // of a row of a tile: rows start in different banks
        FACTORS = (2 * N + M) * GROUPS,  // scales and offsets of weights, sums of x
    };
    typedef Operand<InT> X;
    typedef typename X::Pair Pair;

    // 16 weights of a row: runs RUNS part .. of groups i ..
    static void stage_weights(thread const typename F::Matrix& from, uint i, uint part,
                              threadgroup Pair* to) {
        constexpr uint RUNS = 16 / (2 * E);
        GGUF_UNROLL
        for (uint r = 0; r < RUNS; ++r) {
            typename X::Pair q[E];
            const uint run = part * RUNS + r;
            const uint g = i + run / 4, t = run % 4;
            from.template quants<X>(from.words(g, t), g, t, q);
            GGUF_UNROLL
            for (uint e = 0; e < E; ++e) to[r * E + e] = q[e];
        }
    }

    // 8 activations of a row, in the order of the weights. Returns their sum.
    static float stage_activations(device const InT* from, threadgroup Pair* to) {
        InT v[8];
        load<8>(from, v);
        float total = 0.0f;
        GGUF_UNROLL
        for (uint i = 0; i < 8; ++i) total += (float)v[i];
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) {
            const uint first = i / E * (2 * E) + i % E;
            to[i] = X::join(v[first], v[first + E]);
        }
        return total;
    }
};

// The tile of the outputs from n0 on for `rows`, at least one and at most T::M.
template <typename F, typename InT, typename OutT, typename Bias, typename Pair, typename Rows>
inline void qmm(device const InT* x, device const uchar* weight, Bias bias, device OutT* out,
                threadgroup Pair* w_pairs, threadgroup Pair* x_pairs, threadgroup float* factors,
                uint n_rows, uint row_bytes, Rows rows, uint n0, uint thread_index, uint simdgroup,
                uint lane) {
    typedef MatMat<F, InT> T;
    typedef typename F::Matrix Matrix;
    const uint columns = row_bytes / F::BYTES * F::WEIGHTS;

    // What a thread brings to the tiles: 16 weights of a row, 8 activations of a row.
    // Rows past the last repeat the last one; their products are not stored.
    const uint w_row = thread_index / 2, w_part = thread_index % 2;
    const uint x_row = thread_index / 4, x_part = thread_index % 4;
    device const uchar* w_from = weight + (ulong)min(n0 + w_row, n_rows - 1) * row_bytes;
    device const InT* x_from = x + (ulong)rows.x(min(x_row, rows.count - 1)) * columns + 8 * x_part;
    threadgroup Pair* w_to = w_pairs + (w_row * T::STRIDE + 16 * w_part) / 2;
    threadgroup Pair* x_to = x_pairs + (x_row * T::STRIDE + 8 * x_part) / 2;
    threadgroup const InT* w_tile = (threadgroup const InT*)w_pairs;
    threadgroup const InT* x_tile = (threadgroup const InT*)x_pairs;

    threadgroup float* scales = factors;
    threadgroup float* offsets = scales + T::N * T::GROUPS;
    threadgroup float* x_sums = offsets + T::N * T::GROUPS;

    const Fragment at(lane);
    const uint n_tile = simdgroup % 2 * 32, m_tile = simdgroup / 2 * 16;
    simdgroup_float8x8 sum[4][2];
    GGUF_UNROLL
    for (uint n = 0; n < 4; ++n) {
        GGUF_UNROLL
        for (uint m = 0; m < 2; ++m) sum[n][m] = zeros();
    }

    for (uint k = 0; k < columns; k += 8 * T::GROUP) {
        Matrix from;
        from.load(w_from, k / T::GROUP);
        for (uint i = 0; i < 8 && k + i * T::GROUP < columns; i += T::GROUPS) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
            T::stage_weights(from, i, w_part, w_to);
            // Of one group a row's two threads write a factor each, of two both of one.
            const uint g = T::GROUPS == 2 ? w_part : 0;
            const uint factor = w_row * T::GROUPS + g;
            if (T::GROUPS == 2 || w_part == 0) scales[factor] = from.scale(i + g);
            if (T::GROUPS == 2 || w_part == 1) offsets[factor] = from.offset(i + g);
            float x_sum = T::stage_activations(x_from + k + i * T::GROUP, x_to);
            x_sum += simd_shuffle_xor(x_sum, 1);
            if (T::GROUPS == 1) x_sum += simd_shuffle_xor(x_sum, 2);
            constexpr uint PARTS = 4 / T::GROUPS;
            if (x_part % PARTS == 0) x_sums[x_row * T::GROUPS + x_part / PARTS] = x_sum;
            threadgroup_barrier(mem_flags::mem_threadgroup);

            GGUF_UNROLL
            for (uint g = 0; g < T::GROUPS; ++g) {
                simdgroup_float8x8 product[4][2];
                GGUF_UNROLL
                for (uint n = 0; n < 4; ++n) {
                    GGUF_UNROLL
                    for (uint m = 0; m < 2; ++m) product[n][m] = zeros();
                }
                GGUF_UNROLL
                for (uint e = 0; e < T::E; ++e) {
                    const uint kk = g * T::GROUP + 8 * e;
                    simdgroup_matrix<InT, 8, 8> left[4], right[2];
                    GGUF_UNROLL
                    for (uint n = 0; n < 4; ++n)
                        simdgroup_load(left[n], w_tile + (n_tile + 8 * n) * T::STRIDE + kk,
                                       T::STRIDE);
                    GGUF_UNROLL
                    for (uint m = 0; m < 2; ++m)
                        simdgroup_load(right[m], x_tile + (m_tile + 8 * m) * T::STRIDE + kk,
                                       T::STRIDE, ulong2(0, 0), true);
                    GGUF_UNROLL
                    for (uint n = 0; n < 4; ++n) {
                        GGUF_UNROLL
                        for (uint m = 0; m < 2; ++m)
                            simdgroup_multiply_accumulate(product[n][m], left[n], right[m],
                                                          product[n][m]);
                    }
                }
                GGUF_UNROLL
                for (uint n = 0; n < 4; ++n) {
                    const uint row = (n_tile + 8 * n + at.row) * T::GROUPS + g;
                    const float scale = scales[row], offset = offsets[row];
                    GGUF_UNROLL
                    for (uint m = 0; m < 2; ++m) {
                        GGUF_UNROLL
                        for (uint e = 0; e < 2; ++e) {
                            const uint column = m_tile + 8 * m + at.column + e;
                            const float x_sum = x_sums[column * T::GROUPS + g];
                            sum[n][m].thread_elements()[e] =
                                fma(scale, product[n][m].thread_elements()[e],
                                    fma(offset, x_sum, sum[n][m].thread_elements()[e]));
                        }
                    }
                }
            }
        }
    }

    GGUF_UNROLL
    for (uint n = 0; n < 4; ++n) {
        GGUF_UNROLL
        for (uint m = 0; m < 2; ++m)
            store(sum[n][m], at, n0 + n_tile + 8 * n, m_tile + 8 * m, n_rows, rows, bias, out);
    }
}

}  // namespace gguf
