// Experts: row r of the output is a row of x times one of E matrices, number indices[r].
//
// Every row of x serves `repeat` neighbouring rows of the output. An index outside [0, E)
// gives zeros.
#pragma once
#include "common.h"

namespace gguf {

// A stack of `count` matrices of blocks, all of n_rows rows of row_bytes bytes.
struct Experts {
    device const uchar* blocks;
    uint count, n_rows, row_bytes;

    // shape: of the stack, (count, n_rows, row_bytes).
    Experts(device const uchar* blocks, const constant int* shape)
        : blocks(blocks),
          count((uint)shape[0]),
          n_rows((uint)shape[1]),
          row_bytes((uint)shape[2]) {}

    bool has(long index) const { return index >= 0 && index < (long)count; }
    Weight matrix(uint index) const {
        return {blocks + (ulong)index * n_rows * row_bytes, n_rows, row_bytes};
    }
};

// The indices: the expert of each of `count` rows of the output.
template <typename Pointer>
struct Indices {
    Pointer expert;
    uint count, repeat;

    long operator[](uint row) const { return (long)expert[row]; }
};

// Finds the type of the pointer: MLX passes few indices in the constant address space.
template <typename Pointer>
inline Indices<Pointer> indices_of(Pointer expert, uint count, uint repeat) {
    return {expert, count, repeat};
}

// The number of indices, as MLX passes their shape.
inline uint elements(const constant int* shape, int ndim) { return leading_rows(shape, ndim + 1); }

}  // namespace gguf
