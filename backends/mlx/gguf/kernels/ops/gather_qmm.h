// Experts, mat-mat: all rows of each expert. Prefill.
//
// A threadgroup takes one expert and one tile of outputs. It looks through the indices for the
// rows of its expert, and computes qmm's tile for every 32 of them. So the grid (tiles of
// outputs, experts) is known before the indices are, rows need not be sorted, and their order
// does not depend on that of threads.
#pragma once
#include "experts.h"
#include "qmm.h"

namespace gguf {

// Which rows a tile has: those of a list. `repeat` neighbouring rows of the output share one
// of x.
struct RowList {
    threadgroup const uint* rows;
    uint count, repeat;

    uint x(uint i) const { return rows[i] / repeat; }
    uint out(uint i) const { return rows[i]; }
};

// `list`: a ring of 2 T::M rows. Of these, the tiles take one half in turn: while fewer rows
// than a tile wait in one, those of the next 32 indices fit.
template <typename F, typename InT, typename OutT, typename Indices, typename Pair>
inline void gather_qmm(device const InT* x, Experts experts, Indices indices, device OutT* out,
                       threadgroup Pair* w_pairs, threadgroup Pair* x_pairs,
                       threadgroup float* factors, threadgroup uint* list, uint rows, uint repeat,
                       uint3 group, uint thread_index, uint simdgroup, uint lane) {
    typedef MatMat<F, InT> T;
    constexpr uint SIMDGROUPS = 4, SHARE = T::N / SIMDGROUPS;
    const uint n0 = group.x * T::N, expert = group.y;
    device const uchar* weight = experts.matrix(expert);

    // Every simdgroup looks at all indices, so that all know how many rows were found.
    uint found = 0, taken = 0;
    for (uint r0 = 0; r0 < rows; r0 += 32) {
        const uint r = r0 + lane;
        const bool is_row = r < rows;
        const long index = is_row ? (long)indices[r] : 0;
        const bool mine = is_row && index == (long)expert;
        if (simd_any(mine)) {  // seldom, if there are many experts: the vote costs less
            const uint mask = simd_or(mine ? 1u << lane : 0u);
            const uint at = found + popcount(mask & ((1u << lane) - 1));
            if (mine && simdgroup == 0) list[at % (2 * T::M)] = r;
            found += popcount(mask);
        }
        if (expert == 0 && is_row && !experts.has(index)) {
            const uint from = n0 + simdgroup * SHARE, to = min(from + SHARE, experts.n_rows);
            for (uint n = from; n < to; ++n) out[(ulong)r * experts.n_rows + n] = (OutT)0.0f;
        }
        const uint enough = r0 + 32 < rows ? (uint)T::M : 1u;
        while (found - taken >= enough) {
            const RowList tile = {list + taken % (2 * T::M), min(found - taken, (uint)T::M),
                                  repeat};
            threadgroup_barrier(mem_flags::mem_threadgroup);
            qmm<F>(x, weight, NoBias(), out, w_pairs, x_pairs, factors, experts.n_rows,
                   experts.row_bytes, tile, n0, thread_index, simdgroup, lane);
            threadgroup_barrier(mem_flags::mem_threadgroup);
            taken += tile.count;
        }
    }
}

}  // namespace gguf
