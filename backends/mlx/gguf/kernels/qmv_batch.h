// Linear, small batches: 2 to about 16 rows of x, 8 of them to a tile.
//
// A threadgroup computes 8 TILES outputs for 8 rows of x. Its simdgroups deal the runs
// of 32 weights out among themselves, and add their partial sums in threadgroup memory.
// Every weight is decoded once for the 8 rows, in registers, as an element of the left
// matrix of a product of 8x8 simdgroup matrices:
//
//   lane (row, column) decodes weights 4 column .. 4 column + 7 of a run, of weight row
//   `row`, and element k of matrix e stands for weight 4 k + e of the run; so the right
//   matrix needs x[4 k + e], four neighbours for the four matrices of a run.
#pragma once
#include "fragment.h"

namespace gguf {

template <typename F, uint TILES, uint SIMDGROUPS, typename InT, typename OutT, typename Bias>
inline void qmv_batch(device const InT* x, device const uchar* weight, Bias bias,
                      device OutT* out, threadgroup float* partial, uint n_rows,
                      uint row_bytes, uint m_rows, uint3 group, uint simdgroup, uint lane) {
    constexpr uint RUNS = F::WEIGHTS / 32;
    const uint n0 = group.x * (8 * TILES), m0 = group.y * 8;
    const uint runs = row_bytes / F::BYTES * RUNS;
    const uint columns = runs * 32;
    const Fragment at(lane);

    // Rows past the last, of weights and of x, repeat the last one and are not stored.
    device const uchar* weights = weight + (ulong)n0 * row_bytes;
    uint offset[TILES];
    GGUF_UNROLL for (uint t = 0; t < TILES; ++t)
        offset[t] = min(8 * t + at.row, n_rows - 1 - n0) * row_bytes;
    device const InT* x0 = x + (ulong)min(m0 + at.column, m_rows - 1) * columns;
    device const InT* x1 = x + (ulong)min(m0 + at.column + 1, m_rows - 1) * columns;

    simdgroup_float8x8 sum[TILES];
    GGUF_UNROLL for (uint t = 0; t < TILES; ++t)
        sum[t] = make_filled_simdgroup_matrix<float, 8>(0.0f);
    for (uint run = simdgroup; run < runs; run += SIMDGROUPS) {
        float v0[4], v1[4];
        load4(x0 + run * 32 + 4 * at.row, v0);
        load4(x1 + run * 32 + 4 * at.row, v1);
        GGUF_UNROLL for (uint t = 0; t < TILES; ++t) {
            float w[8];
            F::template decode<8>(weights + offset[t] + run / RUNS * F::BYTES,
                                  run % RUNS * 4 + at.column / 2, w);
            GGUF_UNROLL for (uint e = 0; e < 4; ++e) {
                simdgroup_float8x8 left, right;
                set(left, w[e], w[4 + e]);
                set(right, v0[e], v1[e]);
                simdgroup_multiply_accumulate(sum[t], left, right, sum[t]);
            }
        }
    }

    // partial[simdgroup][tile][element of the tile], elements in the order of the lanes.
    GGUF_UNROLL for (uint t = 0; t < TILES; ++t) {
        GGUF_UNROLL for (uint e = 0; e < 2; ++e)
            partial[(simdgroup * TILES + t) * 64 + 2 * lane + e] = sum[t].thread_elements()[e];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint t = simdgroup; t < TILES; t += SIMDGROUPS) {
        float total[2] = {0.0f, 0.0f};
        GGUF_UNROLL for (uint s = 0; s < SIMDGROUPS; ++s) {
            GGUF_UNROLL for (uint e = 0; e < 2; ++e)
                total[e] += partial[(s * TILES + t) * 64 + 2 * lane + e];
        }
        simdgroup_float8x8 tile;
        set(tile, total[0], total[1]);
        store(tile, at, n0 + 8 * t, m0, n_rows, m_rows, bias, out);
    }
}

}  // namespace gguf
