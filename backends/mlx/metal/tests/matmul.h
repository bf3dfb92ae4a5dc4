#pragma once
#include <metal_simdgroup_matrix>
#include <metal_stdlib>
using namespace metal;

// Copies a TILE x TILE tile at (row, column) of a (rows, columns) matrix; zeros outside of it.
template <typename T, int TILE>
inline void load_tile(threadgroup T* to, device const T* from, uint row, uint column, uint rows,
                      uint columns, uint thread_index, uint threads) {
    for (uint i = thread_index; i < TILE * TILE; i += threads) {
        const uint r = row + i / TILE, c = column + i % TILE;
        const bool inside = r < rows && c < columns;
        to[i] = inside ? T(from[r * columns + c]) : T(0);
    }
}
