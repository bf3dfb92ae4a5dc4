// 8x8 matrices of a simdgroup, element by element.
#pragma once
#include "operand.h"

namespace gguf {

// The elements of an 8x8 simdgroup matrix that a lane holds: row `row`, columns `column`
// and `column + 1`. Apple does not document it; MLX relies on it too (steel/gemm/mma.h).
struct Fragment {
    uint row, column;

    Fragment(uint lane) {
#ifdef MSL_FRAGMENT_ROW  // compiled for another GPU, to measure there (backends/mlx/metal/cuda)
        row = MSL_FRAGMENT_ROW(lane);
        column = MSL_FRAGMENT_COLUMN(lane);
#else
        row = lane / 16 * 4 + lane / 2 % 4;
        column = lane / 8 % 2 * 4 + lane % 2 * 2;
#endif
    }

    // The lane that holds the same columns of row `other`.
    ushort lane_of_row(uint other) const {
#ifdef MSL_FRAGMENT_ROW
        return (ushort)MSL_FRAGMENT_LANE(other, column);
#else
        return (ushort)(other / 4 * 16 + column / 4 * 8 + other % 4 * 2 + column % 4 / 2);
#endif
    }
};

// The matrix of which each lane gives its two elements.
template <typename T>
inline simdgroup_matrix<T, 8, 8> matrix_of(T first, T second) {
    simdgroup_matrix<T, 8, 8> m;
    m.thread_elements()[0] = first;
    m.thread_elements()[1] = second;
    return m;
}

inline simdgroup_float8x8 zeros() { return make_filled_simdgroup_matrix<float, 8>(0.0f); }

// Which rows a tile has, of x and of the output: neighbours.
struct RowRange {
    uint first, count;

    uint x(uint i) const { return first + i; }
    uint out(uint i) const { return first + i; }
};

// Stores a tile of products: its row n is output n0 + n, one of n_rows; its column m is row m0 + m
// of `rows`.
template <typename OutT, typename Bias, typename Rows>
inline void store(simdgroup_float8x8 tile, Fragment fragment, uint n0, uint m0, uint n_rows,
                  Rows rows, Bias bias, device OutT* out) {
    const uint n = n0 + fragment.row;
    if (n >= n_rows) return;
    GGUF_UNROLL
    for (uint e = 0; e < 2; ++e) {
        const uint m = m0 + fragment.column + e;
        if (m < rows.count)
            out[(ulong)rows.out(m) * n_rows + n] =
                (OutT)(tile.thread_elements()[e] + (float)bias[n]);
    }
}

}  // namespace gguf
