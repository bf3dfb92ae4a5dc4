// Experts, mat-vec: every row with its expert's matrix. Decode.
//
// Grid (tiles of outputs, rows); see qmv.h.
#pragma once
#include "experts.h"
#include "qmv.h"

namespace gguf {

template <typename F, uint ROWS, uint SIMDGROUPS, bool SPLIT_K, typename InT, typename OutT,
          typename Indices>
inline void gather_qmv(device const InT* x, Experts experts, Indices indices, device OutT* out,
                       threadgroup float* partial, uint repeat, uint3 group, uint thread_index,
                       uint simdgroup, uint lane) {
    device OutT* to = out + (ulong)group.y * experts.n_rows;
    const long index = (long)indices[group.y];
    if (!experts.has(index)) {
        constexpr uint TILE = ROWS * (SPLIT_K ? 1 : SIMDGROUPS);
        const uint n = group.x * TILE + thread_index;
        if (thread_index < TILE && n < experts.n_rows) to[n] = (OutT)0.0f;
        return;
    }
    const ulong columns = experts.row_bytes / F::BYTES * F::WEIGHTS;
    qmv<F, ROWS, 1, SIMDGROUPS, SPLIT_K>(
        x + group.y / repeat * columns, experts.matrix((uint)index), NoBias(), to, partial,
        experts.n_rows, experts.row_bytes, 1, group, simdgroup, lane);
}

}  // namespace gguf
