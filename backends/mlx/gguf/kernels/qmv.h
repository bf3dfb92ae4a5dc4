// Linear, mat-vec: one row of x times every row of weights. Decode.
//
// A simdgroup computes ROWS outputs, so that one load, one widening and one sum of x
// serve ROWS rows of weights. LANES lanes share a (super-)block: the simdgroup walks
// 32 / LANES blocks of each row at a time. With SPLIT_K the simdgroups of a threadgroup share
// one set of rows and deal out its blocks, for weights of too few rows to fill a GPU.
#pragma once
#include "common.h"

namespace gguf {

// The lane's part of all blocks, from block `first` on in steps of STEP.
template <bool WIDE, uint STEP, uint WEIGHTS, uint BLOCK_WORDS, typename MatVec, typename InT,
          typename Word>
inline void accumulate(MatVec mat_vec, device const InT* x, device const Word* const thread* rows,
                       uint first, uint blocks, thread float* sum) {
    uint at = first * BLOCK_WORDS;
    for (uint b = first; b < blocks; b += STEP) {
        mat_vec.template step<WIDE>(x, rows, at, sum);
        x += STEP * WEIGHTS;
        at += STEP * BLOCK_WORDS;
    }
}

template <typename F, uint ROWS, uint SIMDGROUPS, bool SPLIT_K, typename InT, typename OutT,
          typename Bias>
inline void qmv(device const InT* x, device const uchar* weight, Bias bias, device OutT* out,
                threadgroup float* partial, uint n_rows, uint row_bytes, uint3 group,
                uint simdgroup, uint lane) {
    typedef typename F::template MatVec<ROWS> MatVec;
    typedef typename F::Word Word;
    constexpr uint LANES = MatVec::LANES, STEP = 32 / LANES * (SPLIT_K ? SIMDGROUPS : 1);
    constexpr uint BLOCK_WORDS = F::BYTES / (uint)sizeof(Word);
    const uint row0 = (SPLIT_K ? group.x : group.x * SIMDGROUPS + simdgroup) * ROWS;
    if (row0 >= n_rows) return;  // with SPLIT_K alike for the whole threadgroup

    const MatVec mat_vec(lane % LANES, group.y > 0x7FFFFFFFu);
    const uint first = (SPLIT_K ? simdgroup * (32 / LANES) : 0) + lane / LANES;
    const uint blocks = row_bytes / F::BYTES;
    device const InT* x_lane =
        x + (ulong)group.y * (blocks * F::WEIGHTS) + first * F::WEIGHTS + mat_vec.first_weight();

    // Fixed 64-bit addresses of the rows and one running 32-bit offset in words: no 64-bit
    // addition and, for most loads, no addition at all in the loop for a row.
    device const Word* rows[ROWS];
    float sum[ROWS];
    GGUF_UNROLL for (uint r = 0; r < ROWS; ++r) {
        // Rows past the last are computed from the last one and not stored.
        rows[r] = (device const Word*)(weight + (ulong)min(row0 + r, n_rows - 1) * row_bytes);
        sum[r] = 0.0f;
    }
    if (MatVec::WIDE_X && aligned16(x_lane))
        accumulate<MatVec::WIDE_X, STEP, F::WEIGHTS, BLOCK_WORDS>(mat_vec, x_lane, rows, first,
                                                                  blocks, sum);
    else
        accumulate<false, STEP, F::WEIGHTS, BLOCK_WORDS>(mat_vec, x_lane, rows, first, blocks,
                                                         sum);

    device OutT* to = out + (ulong)group.y * n_rows;
    GGUF_UNROLL for (uint r = 0; r < ROWS; ++r) {
        const float total = MatVec::finish(simd_sum(sum[r]));
        if (SPLIT_K) {
            if (lane == 0) partial[simdgroup * ROWS + r] = total;
        } else if (lane == 0 && row0 + r < n_rows) {
            to[row0 + r] = (OutT)(total + (float)bias[row0 + r]);
        }
    }
    if (SPLIT_K) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        const uint row = row0 + lane;
        if (simdgroup == 0 && lane < ROWS && row < n_rows) {
            float total = 0.0f;
            GGUF_UNROLL for (uint s = 0; s < SIMDGROUPS; ++s) total += partial[s * ROWS + lane];
            to[row] = (OutT)(total + (float)bias[row]);
        }
    }
}

}  // namespace gguf
