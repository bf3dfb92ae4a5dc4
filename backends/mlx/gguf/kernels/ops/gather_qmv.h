// Experts, mat-vec: every row with its expert's matrix. Decode.
//
// Grid (tiles of outputs, rows); see qmv.h.
#pragma once
#include "experts.h"
#include "qmv.h"

namespace gguf {

template <typename F, uint ROWS, uint SIMDGROUPS, bool SPLIT_K, typename InT, typename OutT,
          typename Pointer>
inline void gather_qmv(device const InT* x, Experts experts, Indices<Pointer> indices,
                       device OutT* out, threadgroup float* partial, Thread place) {
    const uint row = place.group.y;
    device OutT* out_row = out + (ulong)row * experts.n_rows;
    const long index = indices[row];
    if (!experts.has(index)) {
        constexpr uint TILE = ROWS * (SPLIT_K ? 1 : SIMDGROUPS);
        static_assert(TILE <= 32 * SIMDGROUPS, "gather_qmv: a thread for each output of a tile");
        const uint n = place.group.x * TILE + place.index;
        if (place.index < TILE && n < experts.n_rows) out_row[n] = (OutT)0.0f;
        return;
    }
    const Weight weight = experts.matrix((uint)index);
    const ulong columns = columns_of<F>(weight);
    qmv<F, ROWS, 1, SIMDGROUPS, SPLIT_K>(x + row / indices.repeat * columns, weight, NoBias(),
                                         out_row, partial, 1, place);
}

}  // namespace gguf
