// simdgroup_matrix of the checked build: an exchange of all lanes for every product.
#pragma once

#include <cstring>

#include "msl_simdgroup.h"

namespace metal {

template <typename T, int Rows, int Cols>
struct simdgroup_matrix {
    static_assert(Rows == 8 && Cols == 8, "Metal has 8x8 simdgroup matrices only");

    simdgroup_matrix() = default;
    MSL_FN explicit simdgroup_matrix(T diagonal) {
        const uint row = msl::matrix_row(msl_lane()), column = msl::matrix_column(msl_lane());
        for (int i = 0; i < 2; ++i) elements_[i] = row == column + i ? diagonal : T(0);
    }
    MSL_FN vec<T, 2>& thread_elements() { return elements_; }
    MSL_FN const vec<T, 2>& thread_elements() const { return elements_; }
    MSL_FN void set_elements(const vec<T, 2>& elements) { elements_ = elements; }
    MSL_FN void load(const msl::MatrixMemory<const T>& from, uint lane) {
        const ulong row = msl::matrix_row(lane), column = msl::matrix_column(lane);
        for (ulong i = 0; i < 2; ++i) elements_[i] = from(row, column + i);
    }

  private:
    vec<T, 2> elements_;
};

}  // namespace metal

namespace msl {

struct MatrixLane {
    float a[2], b[2], c[2];
};
// c += a * b, in float, over the whole simdgroup at once.
inline void combine_multiply_accumulate(void* const* lanes) {
    float a[8][8], b[8][8], c[8][8];
    for (int l = 0; l < kLanes; ++l) {
        if (!lanes[l]) continue;
        const MatrixLane& lane = *static_cast<const MatrixLane*>(lanes[l]);
        const uint row = matrix_row(l), column = matrix_column(l);
        memcpy(&a[row][column], lane.a, sizeof lane.a);
        memcpy(&b[row][column], lane.b, sizeof lane.b);
        memcpy(&c[row][column], lane.c, sizeof lane.c);
    }
    for (int row = 0; row < 8; ++row)
        for (int k = 0; k < 8; ++k)
            for (int column = 0; column < 8; ++column)
                c[row][column] = __builtin_fmaf(a[row][k], b[k][column], c[row][column]);
    for (int l = 0; l < kLanes; ++l) {
        if (!lanes[l]) continue;
        memcpy(static_cast<MatrixLane*>(lanes[l])->c, &c[matrix_row(l)][matrix_column(l)],
               sizeof(float) * 2);
    }
}

}  // namespace msl

namespace metal {

template <typename D, typename A, typename B, typename C>
MSL_FN void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d,
                                          const simdgroup_matrix<A, 8, 8>& a,
                                          const simdgroup_matrix<B, 8, 8>& b,
                                          const simdgroup_matrix<C, 8, 8>& c) {
    msl::MatrixLane lane;
    for (int i = 0; i < 2; ++i) {
        lane.a[i] = float(a.thread_elements()[i]);
        lane.b[i] = float(b.thread_elements()[i]);
        lane.c[i] = float(c.thread_elements()[i]);
    }
    msl::exchange(&lane, &msl::combine_multiply_accumulate);
    vec<D, 2> result;
    for (int i = 0; i < 2; ++i) result[i] = D(lane.c[i]);
    d.set_elements(result);
}

}  // namespace metal
