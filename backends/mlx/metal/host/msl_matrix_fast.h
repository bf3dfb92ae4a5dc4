// simdgroup_matrix of the fast build: products without a wait for the other lanes.
//
// A lane that loads a matrix from memory loads all of the row and the two columns that its
// elements of a product depend on. So a product of two loaded matrices is the lane's own: eight
// partial sums for each of its two elements, which are added up when the element is read.
// Operands that were set element by element are known to their lane only. Their products are
// noted down in the result, and computed for the whole simdgroup when an element of it is read:
// one exchange for many products.
#pragma once

#include <cstring>

#include "msl_lanes8.h"
#include "msl_simdgroup.h"

namespace msl {

// What a lane knows of one product of matrices: its elements of both factors.
struct NotedProduct {
    float a[2], b[2];
};
constexpr int kNotedProducts = 8;

struct NotedProducts {
    NotedProduct product[kNotedProducts];
    int count;
    float sum[2];  // the lane's elements of the sum of all products
};

// `sum` of every lane, for lanes that noted down the same number of products.
inline void combine_noted_products(void* const* lanes) {
    const NotedProducts* any = nullptr;
    for (int l = 0; l < kLanes && !any; ++l) any = static_cast<const NotedProducts*>(lanes[l]);
    alignas(32) float a[8][8], b[8][8], c[8][8];
    float8 rows[8] = {};
    for (int p = 0; p < any->count; ++p) {
        for (int l = 0; l < kLanes; ++l) {
            if (!lanes[l]) continue;
            const NotedProduct& noted = static_cast<const NotedProducts*>(lanes[l])->product[p];
            memcpy(&a[matrix_row(l)][matrix_column(l)], noted.a, sizeof noted.a);
            memcpy(&b[matrix_row(l)][matrix_column(l)], noted.b, sizeof noted.b);
        }
        for (int k = 0; k < 8; ++k) {
            const float8 row = load8(b[k]);
            for (int r = 0; r < 8; ++r) rows[r] = fused(float8{} + a[r][k], row, rows[r]);
        }
    }
    memcpy(c, rows, sizeof c);
    for (int l = 0; l < kLanes; ++l) {
        if (!lanes[l]) continue;
        NotedProducts& lane = *static_cast<NotedProducts*>(lanes[l]);
        memcpy(lane.sum, &c[matrix_row(l)][matrix_column(l)], sizeof lane.sum);
    }
}

// The sum of the products that the simdgroup's lanes noted down; not inlined, nor a member of the
// matrix, so that matrices of loaded operands can live in registers.
__attribute__((noinline)) inline void sum_noted_products(NotedProducts& noted) {
    exchange(&noted, &combine_noted_products);
}

}  // namespace msl

namespace metal {

template <typename T, int Rows, int Cols>
struct simdgroup_matrix {
    static_assert(Rows == 8 && Cols == 8, "Metal has 8x8 simdgroup matrices only");

    simdgroup_matrix() : loaded_(false), shown_(false), summing_(false) { noted_.count = 0; }
    MSL_FN explicit simdgroup_matrix(T diagonal) : simdgroup_matrix() {
        const uint row = msl::matrix_row(msl_lane()), column = msl::matrix_column(msl_lane());
        for (int i = 0; i < 2; ++i) elements_[i] = row == column + i ? diagonal : T(0);
    }
    MSL_FN simdgroup_matrix(const simdgroup_matrix& from) : shown_(false) { copy(from); }
    MSL_FN simdgroup_matrix& operator=(const simdgroup_matrix& from) {
        copy(from);
        if (shown_) settle();
        return *this;
    }

    MSL_FN vec<T, 2>& thread_elements() {
        settle();
        shown_ = true;
        loaded_ = false;
        return elements_;
    }
    MSL_FN const vec<T, 2>& thread_elements() const {
        settle();
        return elements_;
    }
    MSL_FN void set_elements(const vec<T, 2>& elements) {
        elements_ = elements;
        loaded_ = summing_ = false;
        noted_.count = 0;
    }
    MSL_FN void load(const msl::MatrixMemory<const T>& from, uint lane) {
        const ulong row = msl::matrix_row(lane), column = msl::matrix_column(lane);
        set_elements(vec<T, 2>(from(row, column), from(row, column + 1)));
        row_ = load8(&from(row, 0), from.column_step);
        for (ulong i = 0; i < 2; ++i) columns_[i] = load8(&from(0, column + i), from.row_step);
        loaded_ = true;
    }

    // *this = a * b + c.
    template <typename A, typename B, typename C>
    MSL_FN void set_product(const simdgroup_matrix<A, 8, 8>& a, const simdgroup_matrix<B, 8, 8>& b,
                            const simdgroup_matrix<C, 8, 8>& c) {
        // The factors may be *this, or be shown and change.
        const bool loaded = a.loaded_ && b.loaded_;
        const msl::float8 row = a.row_, columns[2] = {b.columns_[0], b.columns_[1]};
        msl::NotedProduct product;
        if (!loaded) {
            for (int i = 0; i < 2; ++i) {
                product.a[i] = float(a.thread_elements()[i]);
                product.b[i] = float(b.thread_elements()[i]);
            }
        }
        if constexpr (std::is_same<C, T>::value) {
            copy(c);
        } else {
            const vec<C, 2> elements = c.thread_elements();
            set_elements(vec<T, 2>(elements));
        }
        loaded_ = false;
        if (loaded) {
            for (int i = 0; i < 2; ++i)
                sums_[i] = msl::fused(row, columns[i], summing_ ? sums_[i] : msl::float8{});
            summing_ = true;
        } else {
            if (noted_.count == msl::kNotedProducts) compute();
            noted_.product[noted_.count++] = product;
        }
        if (shown_ || !kPutsOff) compute();
    }

  private:
    template <typename, int, int>
    friend struct simdgroup_matrix;

    // Matrices of 16-bit elements are operands: that they are up to date keeps their code small.
    static constexpr bool kPutsOff = std::is_same<T, float>::value;

    template <typename U>
    static MSL_FN msl::float8 load8(const U* from, ulong step) {
        return step == 1 ? msl::load8(from) : msl::load8(from, step);
    }

    MSL_FN void copy(const simdgroup_matrix& from) {
        elements_ = from.elements_;
        loaded_ = from.loaded_;
        row_ = from.row_;
        for (int i = 0; i < 2; ++i) columns_[i] = from.columns_[i];
        summing_ = from.summing_;
        for (int i = 0; i < 2; ++i) sums_[i] = from.sums_[i];
        if (this == &from) return;
        noted_.count = from.noted_.count;
        for (int p = 0; p < from.noted_.count; ++p) noted_.product[p] = from.noted_.product[p];
    }

    MSL_FN void settle() const {
        if constexpr (kPutsOff) compute();
    }

    // Brings elements_ up to date.
    MSL_FN void compute() const {
        if (summing_) {
            for (int i = 0; i < 2; ++i)
                elements_[i] = T(float(elements_[i]) + msl::sum_of(sums_[i]));
            summing_ = false;
        }
        if (noted_.count) {
            msl::NotedProducts noted = noted_;
            msl::sum_noted_products(noted);
            for (int i = 0; i < 2; ++i) elements_[i] = T(float(elements_[i]) + noted.sum[i]);
            noted_.count = 0;
        }
    }

    mutable vec<T, 2> elements_;
    bool loaded_;           // row_ and columns_ hold the lane's row and columns
    bool shown_;            // the kernel may hold a reference to elements_: they must be up to date
    mutable bool summing_;  // sums_ is to be added to elements_
    msl::float8 row_;
    msl::float8 columns_[2];
    msl::float8 sums_[2];
    mutable msl::NotedProducts noted_;
};

template <typename D, typename A, typename B, typename C>
MSL_FN void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d,
                                          const simdgroup_matrix<A, 8, 8>& a,
                                          const simdgroup_matrix<B, 8, 8>& b,
                                          const simdgroup_matrix<C, 8, 8>& c) {
    d.set_product(a, b, c);
}

}  // namespace metal
