// Linear, mat-vec: one or two rows of x times every row of weights. Decode.
//
// A simdgroup computes ROWS outputs, so that one load, one widening and one sum of x
// serve ROWS rows of weights. LANES lanes share a (super-)block: the simdgroup walks
// 32 / LANES blocks of each row at a time. With SPLIT_K the simdgroups of a threadgroup share
// one set of rows and deal out its blocks, for weights of too few rows to fill a GPU.
//
// F::Word is the widest load that the alignment of F's blocks allows. F::MatVec<ROWS, X_ROWS> is
// the part of a lane, one of LANES that share a block:
//   MatVec(lane, never): of that one of the LANES. `never` is false, which the compiler does not
//   know: what depends on it stays in a register, where a constant would cost operations;
//   first_weight(): where its weights begin in a block;
//   step<WIDE>(x, x_stride, rows, offset, sum): adds the lane's part of one block of ROWS rows,
//   which lies `offset` words from the start of each, to sum[row][row of x]. `x`: activations from
//   the lane's first weight on; rows of x are `x_stride` elements apart. WIDE: they are aligned to
//   16 bytes;
//   WIDE_X: 1 if it gains from WIDE, else step<false> is all that is called;
//   finish(sum): such a sum, over lanes too, as the output.
#pragma once
#include "common.h"

namespace gguf {

// The lane's part of all blocks, from block `first` on in steps of STEP.
template <bool WIDE, uint STEP, uint WEIGHTS, uint BLOCK_WORDS, typename MatVec, typename InT,
          typename Word>
inline void accumulate(MatVec mat_vec, device const InT* x, uint x_stride,
                       device const Word* const thread* rows, uint first, uint blocks,
                       thread float* sum) {
    uint offset = first * BLOCK_WORDS;
    for (uint b = first; b < blocks; b += STEP) {
        mat_vec.template step<WIDE>(x, x_stride, rows, offset, sum);
        x += STEP * WEIGHTS;
        offset += STEP * BLOCK_WORDS;
    }
}

// `x` and `out`: the first of the x_count rows of each, at most X_ROWS; place.group.x: the tile of
// outputs. One decoding of a weight serves all rows of x. `partial`: with SPLIT_K, a float for each
// simdgroup, row and row of x.
template <typename F, uint ROWS, uint X_ROWS, uint SIMDGROUPS, bool SPLIT_K, typename InT,
          typename OutT, typename Bias>
inline void qmv(device const InT* x, Weight weight, Bias bias, device OutT* out,
                threadgroup float* partial, uint x_count, Thread place) {
    typedef typename F::template MatVec<ROWS, X_ROWS> MatVec;
    typedef typename F::Word Word;
    constexpr uint LANES = MatVec::LANES, STEP = 32 / LANES * (SPLIT_K ? SIMDGROUPS : 1);
    constexpr uint BLOCK_WORDS = F::BYTES / (uint)sizeof(Word), SUMS = ROWS * X_ROWS;
    static_assert(ROWS > 0 && SIMDGROUPS > 0, "qmv: rows and simdgroups");
    static_assert(X_ROWS == 1 || X_ROWS == 2, "qmv: one or two rows of x");
    static_assert(!SPLIT_K || SUMS <= 32, "qmv: with K split, a lane adds up each of the sums");
    static_assert(32 % LANES == 0, "qmv: lanes of a block within a simdgroup");
    static_assert(F::BYTES % sizeof(Word) == 0, "qmv: whole words in a block");
    static_assert(F::WEIGHTS % 32 == 0, "qmv: rows of x keep their alignment");
    const uint lane = place.lane, simdgroup = place.simdgroup, n_rows = weight.n_rows;
    const uint row0 = (SPLIT_K ? place.group.x : place.group.x * SIMDGROUPS + simdgroup) * ROWS;
    if (row0 >= n_rows) return;  // with SPLIT_K alike for the whole threadgroup

    const MatVec mat_vec(lane % LANES, place.group.y > 0x7FFFFFFFu);
    const uint first = (SPLIT_K ? simdgroup * (32 / LANES) : 0) + lane / LANES;
    const uint blocks = weight.row_bytes / F::BYTES;
    device const InT* x_lane = x + first * F::WEIGHTS + mat_vec.first_weight();
    // Where two rows of x are computed and there is one, it is computed twice and stored once.
    const uint x_stride = x_count < X_ROWS ? 0 : blocks * F::WEIGHTS;

    // Fixed 64-bit addresses of the rows and one running 32-bit offset in words: no 64-bit
    // addition and, for most loads, no addition at all in the loop for a row.
    device const Word* rows[ROWS];
    float sum[SUMS];  // [row][row of x]
    GGUF_UNROLL
    for (uint r = 0; r < ROWS; ++r) {
        // Rows past the last are computed from the last one and not stored.
        rows[r] = (device const Word*)weight.row(min(row0 + r, n_rows - 1));
    }
    GGUF_UNROLL
    for (uint i = 0; i < SUMS; ++i) sum[i] = 0.0f;
    if (MatVec::WIDE_X && aligned16(x_lane))  // rows are a multiple of 32 elements apart
        accumulate<MatVec::WIDE_X, STEP, F::WEIGHTS, BLOCK_WORDS>(mat_vec, x_lane, x_stride, rows,
                                                                  first, blocks, sum);
    else
        accumulate<false, STEP, F::WEIGHTS, BLOCK_WORDS>(mat_vec, x_lane, x_stride, rows, first,
                                                         blocks, sum);

    GGUF_UNROLL
    for (uint i = 0; i < SUMS; ++i) {
        const uint row = row0 + i / X_ROWS, m = i % X_ROWS;
        const float total = MatVec::finish(simd_sum(sum[i]));
        if (SPLIT_K) {
            if (lane == 0) partial[simdgroup * SUMS + i] = total;
        } else if (lane == 0 && row < n_rows && m < x_count) {
            out[(ulong)m * n_rows + row] = (OutT)(total + (float)bias[row]);
        }
    }
    if (SPLIT_K) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        const uint row = row0 + lane / X_ROWS, m = lane % X_ROWS;
        if (simdgroup == 0 && lane < SUMS && row < n_rows && m < x_count) {
            float total = 0.0f;
            GGUF_UNROLL
            for (uint s = 0; s < SIMDGROUPS; ++s) total += partial[s * SUMS + lane];
            out[(ulong)m * n_rows + row] = (OutT)(total + (float)bias[row]);
        }
    }
}

}  // namespace gguf
