// Barriers, SIMD-group functions and simdgroup_matrix on an NVIDIA warp (sm_80 or later).
//
// A simdgroup is a warp: threads of a threadgroup are numbered x first, as CUDA does.
#pragma once

#include "msl_math.h"

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
MSL_FN mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }
MSL_FN void threadgroup_barrier(mem_flags) { __syncthreads(); }
MSL_FN void simdgroup_barrier(mem_flags) { __syncwarp(); }

}  // namespace metal

namespace msl {

constexpr uint kWholeWarp = 0xFFFFFFFFu;

MSL_FN uint lane() {
    uint lane;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}

// A warp shuffles 32 bits; smaller values travel in the low ones.
template <typename T, typename Shuffle>
MSL_FN T through_word(T value, Shuffle shuffle) {
    static_assert(sizeof(T) <= 4, "shuffle: at most 32 bits");
    uint word = 0;
    __builtin_memcpy(&word, &value, sizeof value);
    word = shuffle(word);
    __builtin_memcpy(static_cast<void*>(&value), &word, sizeof value);
    return value;
}

}  // namespace msl

namespace metal {

template <typename T>
MSL_FN T simd_shuffle(T value, ushort lane) {
    return msl::through_word(value, [=](uint w) { return __shfl_sync(msl::kWholeWarp, w, lane); });
}
template <typename T>
MSL_FN T simd_shuffle_xor(T value, ushort mask) {
    return msl::through_word(value,
                             [=](uint w) { return __shfl_xor_sync(msl::kWholeWarp, w, mask); });
}
template <typename T>
MSL_FN T simd_shuffle_down(T value, ushort delta) {
    return msl::through_word(value,
                             [=](uint w) { return __shfl_down_sync(msl::kWholeWarp, w, delta); });
}
template <typename T>
MSL_FN T simd_shuffle_up(T value, ushort delta) {
    return msl::through_word(value,
                             [=](uint w) { return __shfl_up_sync(msl::kWholeWarp, w, delta); });
}
template <typename T>
MSL_FN T simd_broadcast(T value, ushort lane) {
    return simd_shuffle(value, lane);
}
template <typename T>
MSL_FN T simd_broadcast_first(T value) {
    return simd_shuffle(value, 0);
}
template <typename T>
MSL_FN T quad_shuffle_xor(T value, ushort mask) {
    return simd_shuffle_xor(value, mask & 3);
}
template <typename T>
MSL_FN T quad_broadcast(T value, ushort lane) {
    return simd_shuffle(value, (msl::lane() & ~3u) | (lane & 3));
}
template <typename T>
MSL_FN T quad_sum(T value) {
    value = T(value + quad_shuffle_xor(value, 1));
    return T(value + quad_shuffle_xor(value, 2));
}

#define MSL_REDUCTION(name, expression)                                \
    template <typename T>                                              \
    MSL_FN T simd_##name(T a) {                                        \
        _Pragma("unroll") for (ushort width = 16; width; width /= 2) { \
            const T b = simd_shuffle_xor(a, width);                    \
            a = T(expression);                                         \
        }                                                              \
        return a;                                                      \
    }
MSL_REDUCTION(sum, a + b)
MSL_REDUCTION(product, a* b)
MSL_REDUCTION(max, a < b ? b : a)
MSL_REDUCTION(min, b < a ? b : a)
MSL_REDUCTION(and, a& b)
MSL_REDUCTION(or, a | b)
MSL_REDUCTION(xor, a ^ b)
#undef MSL_REDUCTION
MSL_FN bool simd_any(bool value) { return __any_sync(msl::kWholeWarp, value); }
MSL_FN bool simd_all(bool value) { return __all_sync(msl::kWholeWarp, value); }
MSL_FN bool simd_is_first() { return msl::lane() == 0; }

}  // namespace metal

namespace msl {

// 8x8 elements of 16 bits, two neighbours of a row in each lane, by rows from by columns.
MSL_FN uint transpose(uint fragment) {
    uint result;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(fragment));
    return result;
}

}  // namespace msl

namespace metal {

// An 8x8 matrix held by a warp, laid out as PTX's m8n8 fragments: a lane has two neighbours of a
// row, as on Apple GPUs, but of another one. Kernels that use thread_elements() must ask
// MSL_FRAGMENT_ROW(lane) and MSL_FRAGMENT_COLUMN(lane) which, and MSL_FRAGMENT_LANE(row, column)
// for the way back.
//
// PTX wants the right operand of a product by columns. A transposed load of 16-bit elements gives
// just that, and other matrices are turned once; both forms are kept, and which of them are valid
// is always known when compiling.
//
// A product fills the upper half of m16n8k8. What comes out below goes in again with the next
// product, and is never looked at: to zero it each time took three moves for every product.
#define MSL_FRAGMENT_ROW(lane) ((lane) / 4)
#define MSL_FRAGMENT_COLUMN(lane) ((lane) % 4 * 2)
#define MSL_FRAGMENT_LANE(row, column) ((row) * 4 + (column) / 2)
template <typename T, int Rows, int Cols>
class simdgroup_matrix {
    static_assert(Rows == 8 && Cols == 8, "Metal has 8x8 simdgroup matrices only");
    mutable vec<T, 2> rows_, columns_;
    vec<T, 2> below_ = vec<T, 2>(T(0));
    mutable bool has_rows_ = true, has_columns_ = false;
    bool shared_ = false;  // someone may hold a reference to rows_

    static MSL_FN vec<T, 2> turned(const vec<T, 2>& elements) {
        return as_type<vec<T, 2>>(msl::transpose(as_type<uint>(elements)));
    }

  public:
    simdgroup_matrix() = default;
    // Nobody holds a reference to the elements of a copy.
    MSL_FN simdgroup_matrix(const simdgroup_matrix& from)
        : rows_(from.rows_),
          columns_(from.columns_),
          below_(from.below_),
          has_rows_(from.has_rows_),
          has_columns_(from.has_columns_) {}
    MSL_FN simdgroup_matrix& operator=(const simdgroup_matrix& from) {
        rows_ = from.rows_;
        columns_ = from.columns_;
        below_ = from.below_;
        has_rows_ = from.has_rows_;
        has_columns_ = from.has_columns_;
        shared_ = false;
        return *this;
    }
    MSL_FN explicit simdgroup_matrix(T diagonal) {
        for (uint i = 0; i < 2; ++i) rows_[i] = row() == column() + i ? diagonal : T(0);
    }
    MSL_FN vec<T, 2>& thread_elements() {
        rows_ = rows();
        has_rows_ = shared_ = true;
        has_columns_ = false;
        return rows_;
    }
    MSL_FN vec<T, 2> thread_elements() const { return rows(); }

    MSL_FN const vec<T, 2>& rows() const {
        if constexpr (sizeof(T) == 2) {
            if (!has_rows_) rows_ = turned(columns_);
            has_rows_ = true;
        }
        return rows_;
    }
    MSL_FN const vec<T, 2>& columns() const {
        static_assert(sizeof(T) == 2, "only 16-bit elements are turned");
        if (!has_columns_) columns_ = turned(rows_);
        has_columns_ = !shared_;
        return columns_;
    }
    MSL_FN void set_rows(const vec<T, 2>& elements) {
        rows_ = elements;
        has_rows_ = true;
        has_columns_ = false;
    }
    MSL_FN void set_columns(const vec<T, 2>& elements) {
        columns_ = elements;
        has_columns_ = true;
        has_rows_ = false;
    }

    MSL_FN const vec<T, 2>& below() const { return below_; }
    MSL_FN void set_below(const vec<T, 2>& elements) { below_ = elements; }

    static MSL_FN uint row() { return MSL_FRAGMENT_ROW(msl::lane()); }
    static MSL_FN uint column() { return MSL_FRAGMENT_COLUMN(msl::lane()); }
};

typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <typename T, int Rows, int Cols = Rows>
MSL_FN simdgroup_matrix<T, Rows, Cols> make_filled_simdgroup_matrix(T value) {
    simdgroup_matrix<T, Rows, Cols> m;
    m.set_rows(vec<T, 2>(value));
    return m;
}

// Element (row, column) is memory[row * stride + column] from `origin` (x: column, y: row) on.
template <typename T>
MSL_FN void simdgroup_load(simdgroup_matrix<T, 8, 8>& m, const T* memory, ulong stride = 8,
                           vec<ulong, 2> origin = vec<ulong, 2>(0ul), bool transpose = false) {
    const ulong row = m.row(), column = m.column();
    const T* from = memory + origin.y * stride + origin.x;
    vec<T, 2> elements;
    if (transpose && sizeof(T) != 2) {
        for (ulong i = 0; i < 2; ++i) elements[i] = from[(column + i) * stride + row];
    } else {
        msl::copy_packed(&elements, from + row * stride + column);
    }
    if (transpose && sizeof(T) == 2) {
        m.set_columns(elements);
    } else {
        m.set_rows(elements);
    }
}
template <typename T>
MSL_FN void simdgroup_store(const simdgroup_matrix<T, 8, 8>& m, T* memory, ulong stride = 8,
                            vec<ulong, 2> origin = vec<ulong, 2>(0ul), bool transpose = false) {
    const ulong row = m.row(), column = m.column();
    const vec<T, 2> elements = m.rows();
    T* to = memory + origin.y * stride + origin.x;
    for (ulong i = 0; i < 2; ++i)
        (transpose ? to[(column + i) * stride + row] : to[row * stride + column + i]) =
            elements.d[i];
}

}  // namespace metal

namespace msl {

// sum += a b through m16n8k8, whose lower eight rows are `below`.
#define MSL_MMA(T, name)                                                                    \
    MSL_FN void multiply_accumulate(metal::vec<float, 2>& sum, metal::vec<float, 2>& below, \
                                    uint a, uint b, T) {                                    \
        asm("mma.sync.aligned.m16n8k8.row.col.f32." name "." name                           \
            ".f32 "                                                                         \
            "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"                           \
            : "+f"(sum.d[0]), "+f"(sum.d[1]), "+f"(below.d[0]), "+f"(below.d[1])            \
            : "r"(a), "r"(0), "r"(b));                                                      \
    }
MSL_MMA(half, "f16")
MSL_MMA(bfloat, "bf16")
#undef MSL_MMA

// Of float matrices. No matrix unit multiplies float32 exactly; MSL_FLOATS_FIT is a promise that
// the operands are values of that type, half or bfloat.
MSL_FN void multiply_accumulate(metal::vec<float, 2>& sum, metal::vec<float, 2>& below,
                                const metal::vec<float, 2>& a, const metal::vec<float, 2>& b,
                                uint row, uint column) {
#ifdef MSL_FLOATS_FIT
    typedef metal::vec<MSL_FLOATS_FIT, 2> Pair;
    multiply_accumulate(sum, below, as_type<uint>(Pair(a)), transpose(as_type<uint>(Pair(b))),
                        MSL_FLOATS_FIT());
#else
    // Eight steps of FMAs, in order of k.
    _Pragma("unroll") for (uint k = 0; k < 8; ++k) {
        const float left = __shfl_sync(kWholeWarp, a.d[k % 2], row * 4 + k / 2);
        for (uint i = 0; i < 2; ++i)
            sum.d[i] = fmaf(left, __shfl_sync(kWholeWarp, b.d[i], k * 4 + column / 2), sum.d[i]);
    }
#endif
}

}  // namespace msl

namespace metal {

template <typename D, typename T>
MSL_FN void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d,
                                          const simdgroup_matrix<T, 8, 8>& a,
                                          const simdgroup_matrix<T, 8, 8>& b,
                                          const simdgroup_matrix<D, 8, 8>& c) {
    static_assert(std::is_same<D, float>::value, "sums are float in this shim");
    vec<float, 2> sum = c.rows(), below = c.below();
    if constexpr (sizeof(T) == 2) {
        msl::multiply_accumulate(sum, below, as_type<uint>(a.rows()), as_type<uint>(b.columns()),
                                 T());
    } else {
        msl::multiply_accumulate(sum, below, a.rows(), b.rows(), a.row(), a.column());
    }
    d.set_rows(sum);
    d.set_below(below);
}
template <typename D, typename T>
MSL_FN void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<T, 8, 8>& a,
                               const simdgroup_matrix<T, 8, 8>& b) {
    simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8>(D(0)));
}

}  // namespace metal
