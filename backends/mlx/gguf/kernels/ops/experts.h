// Experts: row r of the output is a row of x times one of E matrices, number indices[r].
//
// Every row of x serves `repeat` neighbouring rows of the output. An index outside [0, E)
// gives zeros.
#pragma once
#include "common.h"

namespace gguf {

// A stack of `count` matrices of blocks, each of n_rows rows of row_bytes bytes.
struct Experts {
    device const uchar* weight;
    uint count, n_rows, row_bytes;

    Experts(device const uchar* from, const constant int* shape)
        : weight(from), count((uint)shape[0]), n_rows((uint)shape[1]), row_bytes((uint)shape[2]) {}

    bool has(long index) const { return index >= 0 && index < (long)count; }
    device const uchar* matrix(uint index) const {
        return weight + (ulong)index * n_rows * row_bytes;
    }
};

// The number of indices, as MLX passes their shape.
inline uint elements(const constant int* shape, int ndim) { return leading_rows(shape, ndim + 1); }

}  // namespace gguf
