// Linear, small batches: a few rows of x, more than a mat-vec takes.
//
// A threadgroup computes 8 TILES outputs for 8 X_TILES rows of x. Its simdgroups deal the
// groups of weights out among themselves, eight at a time, and add their partial sums in
// threadgroup memory. Every weight is decoded once for all rows of x, in registers, as an
// element of the left one of two 8x8 simdgroup matrices (design: our own study, after
// llama.cpp's mul_mv_mma).
//
// A group of weights shares a scale and has 8 E weights, which take E products of
// matrices. Element k of product e stands for weight E k + e of the group. So a lane, with
// columns c and c + 1 of the left matrices, decodes the neighbours E c .. E c + 2 E - 1 of
// its row, and reads the neighbours x[E r] .. x[E r + E - 1] for the right ones.
//
// F::Matrix is what a lane knows of eight groups of a row:
//   load(row, group): the row, and the first of the groups;
//   words(i, t): what is read of weights 2 E t .. 2 E t + 2 E - 1 of group i;
//   quants(words, i, t, q): these weights as pairs of small numbers;
//   scale(i), offset(i): what a number of group i is multiplied with, and then increased by.
#pragma once
#include "fragment.h"

namespace gguf {

// Tile place.group.x of the outputs for tile place.group.y of the m_rows rows of x.
template <typename F, uint TILES, uint X_TILES, uint SIMDGROUPS, typename InT, typename OutT,
          typename Bias>
inline void qmv_batch(device const InT* x, Weight weight, Bias bias, device OutT* out,
                      threadgroup float* partial, uint m_rows, Thread place) {
    typedef typename F::Matrix Matrix;
    typedef Operand<InT> X;
    constexpr uint GROUP = Matrix::GROUP, E = GROUP / 8;
    constexpr bool WHOLE = F::WEIGHTS % (8 * GROUP) == 0;  // so is a row: no eight are cut short
    static_assert(TILES > 0 && X_TILES > 0 && SIMDGROUPS > 0, "qmv_batch: tiles and simdgroups");
    static_assert(GROUP == 16 || GROUP == 32, "qmv_batch: groups of 16 or 32 weights");
    static_assert(SIMDGROUPS * TILES * X_TILES * 64 * sizeof(float) <= 32768,
                  "qmv_batch: Apple GPUs have 32 KiB of threadgroup memory");
    const uint lane = place.lane, simdgroup = place.simdgroup, n_rows = weight.n_rows;
    const uint n0 = place.group.x * (8 * TILES), m0 = place.group.y * (8 * X_TILES);
    const uint columns = columns_of<F>(weight), groups = columns / GROUP;
    const Fragment fragment(lane);

    // Rows past the last, of weights and of x, repeat the last one and are not stored.
    device const uchar* rows[TILES];
    GGUF_UNROLL
    for (uint t = 0; t < TILES; ++t)
        rows[t] = weight.row(min(n0 + 8 * t + fragment.row, n_rows - 1));
    device const InT* x_rows[X_TILES][2];
    GGUF_UNROLL
    for (uint u = 0; u < X_TILES; ++u) {
        GGUF_UNROLL
        for (uint e = 0; e < 2; ++e)
            x_rows[u][e] = x + (ulong)min(m0 + 8 * u + fragment.column + e, m_rows - 1) * columns;
    }
    const bool wide = aligned16(x);

    simdgroup_float8x8 sum[TILES][X_TILES];
    GGUF_UNROLL
    for (uint t = 0; t < TILES; ++t) {
        GGUF_UNROLL
        for (uint u = 0; u < X_TILES; ++u) sum[t][u] = zeros();
    }
    for (uint g = simdgroup * 8; g < groups; g += SIMDGROUPS * 8) {
        Matrix left[TILES];
        GGUF_UNROLL
        for (uint t = 0; t < TILES; ++t) left[t].load(rows[t], g);

        // What all weights of a group have besides scale times quant goes with the sum of the
        // group's activations. The lanes of `row` add up group g + row; all need all sums.
        float x_sums[X_TILES][2];
        if (Matrix::HAS_OFFSETS) {
            const uint first = min(g + fragment.row, groups - 1) * GROUP;
            GGUF_UNROLL
            for (uint u = 0; u < X_TILES; ++u) {
                GGUF_UNROLL
                for (uint e = 0; e < 2; ++e)
                    x_sums[u][e] = wide ? sum_of<GROUP, true>(x_rows[u][e] + first)
                                        : sum_of<GROUP, false>(x_rows[u][e] + first);
            }
        }

        typename Matrix::Words next[TILES];
        GGUF_UNROLL
        for (uint t = 0; t < TILES; ++t) next[t] = left[t].words(0, fragment.column / 2);
        GGUF_UNROLL
        for (uint i = 0; i < 8; ++i) {
            if (g + i >= groups) break;
            // A group is read while the one before it is multiplied.
            const bool is_last = i == 7 || (!WHOLE && g + i + 1 >= groups);
            typename Matrix::Words words[TILES];
            GGUF_UNROLL
            for (uint t = 0; t < TILES; ++t) {
                words[t] = next[t];
                if (!is_last) next[t] = left[t].words(i + 1, fragment.column / 2);
            }
            simdgroup_matrix<InT, 8, 8> right[X_TILES][E];
            float x_sum[X_TILES][2];
            GGUF_UNROLL
            for (uint u = 0; u < X_TILES; ++u) {
                InT v0[E], v1[E];
                load<E>(x_rows[u][0] + (g + i) * GROUP + E * fragment.row, v0);
                load<E>(x_rows[u][1] + (g + i) * GROUP + E * fragment.row, v1);
                GGUF_UNROLL
                for (uint e = 0; e < E; ++e) right[u][e] = matrix_of(v0[e], v1[e]);
                if (Matrix::HAS_OFFSETS) {
                    GGUF_UNROLL
                    for (uint e = 0; e < 2; ++e)
                        x_sum[u][e] = simd_shuffle(x_sums[u][e], fragment.lane_of_row(i));
                }
            }
            GGUF_UNROLL
            for (uint t = 0; t < TILES; ++t) {
                typename X::Pair q[E];
                left[t].template quants<X>(words[t], i, fragment.column / 2, q);
                simdgroup_matrix<InT, 8, 8> weights[E];
                GGUF_UNROLL
                for (uint e = 0; e < E; ++e)
                    weights[e] = matrix_of(X::first(q[e]), X::second(q[e]));
                const float scale = left[t].scale(i), offset = left[t].offset(i);
                GGUF_UNROLL
                for (uint u = 0; u < X_TILES; ++u) {
                    simdgroup_float8x8 product = zeros();
                    GGUF_UNROLL
                    for (uint e = 0; e < E; ++e)
                        simdgroup_multiply_accumulate(product, weights[e], right[u][e], product);
                    GGUF_UNROLL
                    for (uint e = 0; e < 2; ++e) {
                        float total = sum[t][u].thread_elements()[e];
                        if (Matrix::HAS_OFFSETS) total = fma(offset, x_sum[u][e], total);
                        sum[t][u].thread_elements()[e] =
                            fma(scale, product.thread_elements()[e], total);
                    }
                }
            }
        }
    }

    // partial[simdgroup][tile][element of the tile], elements in the order of the lanes.
    constexpr uint ALL = TILES * X_TILES;
    GGUF_UNROLL
    for (uint t = 0; t < TILES; ++t) {
        GGUF_UNROLL
        for (uint u = 0; u < X_TILES; ++u) {
            GGUF_UNROLL
            for (uint e = 0; e < 2; ++e)
                partial[(simdgroup * ALL + t * X_TILES + u) * 64 + 2 * lane + e] =
                    sum[t][u].thread_elements()[e];
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint t = simdgroup; t < ALL; t += SIMDGROUPS) {
        float total[2] = {0.0f, 0.0f};
        GGUF_UNROLL
        for (uint s = 0; s < SIMDGROUPS; ++s) {
            GGUF_UNROLL
            for (uint e = 0; e < 2; ++e) total[e] += partial[(s * ALL + t) * 64 + 2 * lane + e];
        }
        store(matrix_of(total[0], total[1]), fragment, n0 + t / X_TILES * 8, t % X_TILES * 8,
              n_rows, RowRange{m0, m_rows - m0}, bias, out);
    }
}

}  // namespace gguf
