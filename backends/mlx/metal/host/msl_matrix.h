// simdgroup_matrix: 8x8 matrices that a simdgroup holds together.
//
// Every lane has two neighbours of one row, laid out as on Apple GPUs (the layout MLX's own
// kernels rely on when they use thread_elements()). The checked build computes each product when
// it is called for, lane by lane; the fast one puts products off until their result is read.
#pragma once

#include "msl_simdgroup.h"

namespace msl {

constexpr uint matrix_row(uint lane) { return ((lane / 4) & 4) + (lane / 2) % 4; }
constexpr uint matrix_column(uint lane) { return ((lane / 4) & 2) * 2 + (lane % 2) * 2; }

// Element (row, column) of a matrix in memory is at[row * row_step + column * column_step].
template <typename T>
struct MatrixMemory {
    T* at;
    ulong row_step, column_step;

    // origin: x is the column, y the row of the matrix's first element.
    MSL_FN MatrixMemory(T* memory, ulong stride, metal::vec<ulong, 2> origin, bool transpose)
        : at(memory + origin.y * stride + origin.x),
          row_step(transpose ? 1 : stride),
          column_step(transpose ? stride : 1) {}
    MSL_FN T& operator()(ulong row, ulong column) const {
        return at[row * row_step + column * column_step];
    }
};

}  // namespace msl

#ifdef MSL_CHECKED
#include "msl_matrix_checked.h"
#else
#include "msl_matrix_fast.h"
#endif

namespace metal {

typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <typename T, int Rows, int Cols = Rows>
MSL_FN simdgroup_matrix<T, Rows, Cols> make_filled_simdgroup_matrix(T value) {
    simdgroup_matrix<T, Rows, Cols> m;
    m.set_elements(vec<T, 2>(value));
    return m;
}

template <typename T>
MSL_FN void simdgroup_load(simdgroup_matrix<T, 8, 8>& m, const T* memory, ulong stride = 8,
                           vec<ulong, 2> origin = vec<ulong, 2>(0ul), bool transpose = false) {
    m.load(msl::MatrixMemory<const T>(memory, stride, origin, transpose), msl_lane());
}
template <typename T>
MSL_FN void simdgroup_store(const simdgroup_matrix<T, 8, 8>& m, T* memory, ulong stride = 8,
                            vec<ulong, 2> origin = vec<ulong, 2>(0ul), bool transpose = false) {
    const msl::MatrixMemory<T> to(memory, stride, origin, transpose);
    const ulong row = msl::matrix_row(msl_lane()), column = msl::matrix_column(msl_lane());
    const vec<T, 2>& elements = m.thread_elements();
    for (ulong i = 0; i < 2; ++i) to(row, column + i) = elements[i];
}

template <typename D, typename A, typename B>
MSL_FN void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                               const simdgroup_matrix<B, 8, 8>& b) {
    simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)));
}

}  // namespace metal
