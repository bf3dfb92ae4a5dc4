// Experts, mat-mat: all rows of each expert. Prefill.
//
// A threadgroup takes one expert and one tile of outputs. It looks through the indices for the
// rows of its expert, and computes qmm's tile for every T::M of them. So the grid (tiles of
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
template <typename T, typename InT, typename OutT, typename Pointer>
inline void gather_qmm(device const InT* x, Experts experts, Indices<Pointer> indices,
                       device OutT* out, typename T::Tiles tiles, threadgroup uint* list,
                       Thread place) {
    static_assert(T::M - 1 + 32 <= 2 * T::M, "gather_qmm: the rows of 32 indices fit the list");
    const uint expert = place.group.y;
    const Weight weight = experts.matrix(expert);

    // Every simdgroup looks at all indices, a lane at one of 32, so that all know how many rows
    // were found.
    uint found = 0, taken = 0;
    for (uint r0 = 0; r0 < indices.count; r0 += 32) {
        const uint r = r0 + place.lane;
        const bool is_row = r < indices.count;
        const long index = is_row ? indices[r] : 0;
        const bool mine = is_row && index == (long)expert;
        if (simd_any(mine)) {  // seldom, if there are many experts: the vote costs less
            const uint mask = simd_or(mine ? 1u << place.lane : 0u);
            const uint number = found + popcount(mask & ((1u << place.lane) - 1));
            if (mine && place.simdgroup == 0) list[number % (2 * T::M)] = r;
            found += popcount(mask);
        }
        if (expert == 0 && is_row && !experts.has(index)) {
            const uint first = place.group.x * T::N + place.simdgroup * T::SHARE;
            const uint end = min(first + T::SHARE, experts.n_rows);
            for (uint n = first; n < end; ++n) out[(ulong)r * experts.n_rows + n] = (OutT)0.0f;
        }
        const uint enough = r0 + 32 < indices.count ? (uint)T::M : 1u;
        while (found - taken >= enough) {
            const RowList rows = {list + taken % (2 * T::M), min(found - taken, (uint)T::M),
                                  indices.repeat};
            threadgroup_barrier(mem_flags::mem_threadgroup);
            qmm<T>(x, weight, NoBias(), out, tiles, rows, place);
            threadgroup_barrier(mem_flags::mem_threadgroup);
            taken += rows.count;
        }
    }
}

}  // namespace gguf
