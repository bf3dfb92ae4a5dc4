// Embedding: rows of a table, by index. An index outside the table gives zeros.
//
// A thread decodes 16 weights: grid (K / 16, indices).
#pragma once
#include "common.h"

namespace gguf {

template <typename F, typename Indices, typename OutT>
inline void gather(device const uchar* weight, Indices indices, device OutT* out, uint n_rows,
                   uint row_bytes, uint3 at) {
    const uint columns = row_bytes / F::BYTES * F::WEIGHTS;
    const uint k = at.x * 16;
    if (k >= columns) return;
    const long row = (long)indices[at.y];
    float w[16];
    if (row >= 0 && row < (long)n_rows) {
        F::decode16(weight + (ulong)row * row_bytes + k / F::WEIGHTS * F::BYTES,
                    k % F::WEIGHTS / 16, w);
    } else {
        GGUF_UNROLL
        for (uint i = 0; i < 16; ++i) w[i] = 0.0f;
    }
    device OutT* to = out + (ulong)at.y * columns + k;
    GGUF_UNROLL
    for (uint i = 0; i < 16; ++i) to[i] = (OutT)w[i];
}

}  // namespace gguf
