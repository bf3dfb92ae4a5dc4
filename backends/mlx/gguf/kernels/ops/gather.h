// Embedding: rows of a table, by index. An index outside the table gives zeros.
//
// A thread decodes SHARE weights: grid (K / SHARE, indices).
#pragma once
#include "common.h"

namespace gguf {

template <typename F, uint SHARE, typename Indices, typename OutT>
inline void gather(Weight weight, Indices indices, device OutT* out, uint3 position) {
    static_assert(SHARE == 16, "gather: a thread decodes 16 weights, what decode16 gives");
    static_assert(F::WEIGHTS % SHARE == 0, "gather: no thread's weights lie in two blocks");
    const uint columns = columns_of<F>(weight);
    const uint k = position.x * SHARE;
    if (k >= columns) return;
    const long row = (long)indices[position.y];
    float w[SHARE];
    if (row >= 0 && row < (long)weight.n_rows) {
        F::decode16(weight.row((ulong)row) + k / F::WEIGHTS * F::BYTES, k % F::WEIGHTS / SHARE, w);
    } else {
        GGUF_UNROLL
        for (uint i = 0; i < SHARE; ++i) w[i] = 0.0f;
    }
    device OutT* share = out + (ulong)position.y * columns + k;
    GGUF_UNROLL
    for (uint i = 0; i < SHARE; ++i) share[i] = (OutT)w[i];
}

}  // namespace gguf
