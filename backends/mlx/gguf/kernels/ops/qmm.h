// Linear, mat-mat: many rows of x. Prefill.
//
// A threadgroup computes a tile of N outputs for M rows of x, K weights of each row at a time.
// Every weight is decoded once for the M rows, to an exact small integer in the type of x; its
// group's scale is applied to sums in float, so that nothing is rounded before. Its simdgroups
// stand two by SIMDGROUPS / 2: simdgroup s computes half s % 2 of the outputs for 16 rows of x,
// 16 (s / 2) .. + 15.
//
// In the tiles, a run of 2 E neighbours (group of 8 E weights) stands in the order in which
// Matrix::quants pairs them: 0, E, 1, E + 1, ...; of weights and activations alike.
#pragma once
#include "fragment.h"

namespace gguf {

// The tile of format F and activations InT: of OUTPUTS outputs and X_ROWS rows of x.
template <typename F, typename InT, uint OUTPUTS, uint X_ROWS, uint SIMDGROUPS>
struct MatMat {
    enum : uint {
        N = OUTPUTS,
        M = X_ROWS,
        K = 32,  // weights of a row taken at a time
        GROUP = F::Matrix::GROUP,
        GROUPS = K / GROUP,  // groups taken at a time
        E = GROUP / 8,
        STRIDE = K + 16 / sizeof(InT),   // of a row of a tile: rows start in different banks
        FACTORS = (2 * N + M) * GROUPS,  // scales and offsets of weights, sums of x
        // Of a simdgroup: its outputs and its rows of x in matrices of 8x8; its own share of
        // outputs to give zeros, see gather_qmm.h.
        N_TILES = N / 16,
        M_TILES = 2,
        SHARE = N / SIMDGROUPS,
    };
    static_assert(GROUP == 16 || GROUP == 32, "qmm: groups of 16 or 32 weights");
    static_assert(SIMDGROUPS % 2 == 0, "qmm: simdgroups stand two by SIMDGROUPS / 2");
    static_assert(N * K == 16 * 32 * SIMDGROUPS, "qmm: a thread stages 16 weights");
    static_assert(M * K == 8 * 32 * SIMDGROUPS, "qmm: a thread stages 8 activations");
    static_assert((N + M) * STRIDE * sizeof(InT) + FACTORS * 4 <= 32768,
                  "qmm: Apple GPUs have 32 KiB of threadgroup memory");

    typedef F Format;
    typedef typename F::Matrix Matrix;
    typedef Operand<InT> X;
    typedef typename X::Pair Pair;

    // Threadgroup memory: N and M rows of STRIDE elements, and FACTORS floats.
    struct Tiles {
        threadgroup Pair* w;
        threadgroup Pair* x;
        threadgroup float* factors;
    };

    // Decodes 16 weights of a row: RUNS runs from number RUNS part on, counted through the groups
    // from i on.
    static void stage_weights(thread const Matrix& groups, uint i, uint part,
                              threadgroup Pair* staged) {
        constexpr uint RUNS = 16 / (2 * E);
        GGUF_UNROLL
        for (uint r = 0; r < RUNS; ++r) {
            Pair q[E];
            const uint run = part * RUNS + r;
            const uint g = i + run / 4, t = run % 4;
            groups.template quants<X>(groups.words(g, t), g, t, q);
            GGUF_UNROLL
            for (uint e = 0; e < E; ++e) staged[r * E + e] = q[e];
        }
    }

    // 8 activations of a row, in the order of the weights. Returns their sum.
    static float stage_activations(device const InT* x, threadgroup Pair* staged) {
        InT v[8];
        load<8>(x, v);
        float total = 0.0f;
        GGUF_UNROLL
        for (uint i = 0; i < 8; ++i) total += (float)v[i];
        GGUF_UNROLL
        for (uint i = 0; i < 4; ++i) {
            const uint first = i / E * (2 * E) + i % E;
            staged[i] = X::join(v[first], v[first + E]);
        }
        return total;
    }
};

// Tile place.group.x of the outputs, for `rows`, at least one and at most T::M.
template <typename T, typename InT, typename OutT, typename Bias, typename Rows>
inline void qmm(device const InT* x, Weight weight, Bias bias, device OutT* out,
                typename T::Tiles tiles, Rows rows, Thread place) {
    typedef typename T::Format F;
    const uint columns = columns_of<F>(weight), n0 = place.group.x * T::N;

    // What a thread brings to the tiles: 16 weights of a row, 8 activations of a row.
    // Rows past the last repeat the last one; their products are not stored.
    const uint w_row = place.index / 2, w_part = place.index % 2;
    const uint x_row = place.index / 4, x_part = place.index % 4;
    device const uchar* w_source = weight.row(min(n0 + w_row, weight.n_rows - 1));
    device const InT* x_source =
        x + (ulong)rows.x(min(x_row, rows.count - 1)) * columns + 8 * x_part;
    threadgroup typename T::Pair* w_staged = tiles.w + (w_row * T::STRIDE + 16 * w_part) / 2;
    threadgroup typename T::Pair* x_staged = tiles.x + (x_row * T::STRIDE + 8 * x_part) / 2;
    threadgroup const InT* w_tile = (threadgroup const InT*)tiles.w;
    threadgroup const InT* x_tile = (threadgroup const InT*)tiles.x;

    threadgroup float* scales = tiles.factors;
    threadgroup float* offsets = scales + T::N * T::GROUPS;
    threadgroup float* x_sums = offsets + T::N * T::GROUPS;

    const Fragment fragment(place.lane);
    const uint n_tile = place.simdgroup % 2 * (8 * T::N_TILES);
    const uint m_tile = place.simdgroup / 2 * (8 * T::M_TILES);
    simdgroup_float8x8 sum[T::N_TILES][T::M_TILES];
    GGUF_UNROLL
    for (uint n = 0; n < T::N_TILES; ++n) {
        GGUF_UNROLL
        for (uint m = 0; m < T::M_TILES; ++m) sum[n][m] = zeros();
    }

    for (uint k = 0; k < columns; k += 8 * T::GROUP) {
        typename T::Matrix groups;
        groups.load(w_source, k / T::GROUP);
        for (uint i = 0; i < 8 && k + i * T::GROUP < columns; i += T::GROUPS) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
            T::stage_weights(groups, i, w_part, w_staged);
            // Of one group a row's two threads write a factor each, of two both of one.
            const uint g = T::GROUPS == 2 ? w_part : 0;
            const uint factor = w_row * T::GROUPS + g;
            if (T::GROUPS == 2 || w_part == 0) scales[factor] = groups.scale(i + g);
            if (T::GROUPS == 2 || w_part == 1) offsets[factor] = groups.offset(i + g);
            float x_sum = T::stage_activations(x_source + k + i * T::GROUP, x_staged);
            x_sum += simd_shuffle_xor(x_sum, 1);
            if (T::GROUPS == 1) x_sum += simd_shuffle_xor(x_sum, 2);
            constexpr uint PARTS = 4 / T::GROUPS;
            if (x_part % PARTS == 0) x_sums[x_row * T::GROUPS + x_part / PARTS] = x_sum;
            threadgroup_barrier(mem_flags::mem_threadgroup);

            GGUF_UNROLL
            for (uint g = 0; g < T::GROUPS; ++g) {
                simdgroup_float8x8 product[T::N_TILES][T::M_TILES];
                GGUF_UNROLL
                for (uint n = 0; n < T::N_TILES; ++n) {
                    GGUF_UNROLL
                    for (uint m = 0; m < T::M_TILES; ++m) product[n][m] = zeros();
                }
                GGUF_UNROLL
                for (uint e = 0; e < T::E; ++e) {
                    const uint kk = g * T::GROUP + 8 * e;
                    simdgroup_matrix<InT, 8, 8> left[T::N_TILES], right[T::M_TILES];
                    GGUF_UNROLL
                    for (uint n = 0; n < T::N_TILES; ++n)
                        simdgroup_load(left[n], w_tile + (n_tile + 8 * n) * T::STRIDE + kk,
                                       T::STRIDE);
                    GGUF_UNROLL
                    for (uint m = 0; m < T::M_TILES; ++m)
                        simdgroup_load(right[m], x_tile + (m_tile + 8 * m) * T::STRIDE + kk,
                                       T::STRIDE, ulong2(0, 0), true);
                    GGUF_UNROLL
                    for (uint n = 0; n < T::N_TILES; ++n) {
                        GGUF_UNROLL
                        for (uint m = 0; m < T::M_TILES; ++m)
                            simdgroup_multiply_accumulate(product[n][m], left[n], right[m],
                                                          product[n][m]);
                    }
                }
                GGUF_UNROLL
                for (uint n = 0; n < T::N_TILES; ++n) {
                    const uint row = (n_tile + 8 * n + fragment.row) * T::GROUPS + g;
                    const float scale = scales[row], offset = offsets[row];
                    GGUF_UNROLL
                    for (uint m = 0; m < T::M_TILES; ++m) {
                        GGUF_UNROLL
                        for (uint e = 0; e < 2; ++e) {
                            const uint column = m_tile + 8 * m + fragment.column + e;
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
    for (uint n = 0; n < T::N_TILES; ++n) {
        GGUF_UNROLL
        for (uint m = 0; m < T::M_TILES; ++m)
            store(sum[n][m], fragment, n0 + n_tile + 8 * n, m_tile + 8 * m, weight.n_rows, rows,
                  bias, out);
    }
}

}  // namespace gguf
