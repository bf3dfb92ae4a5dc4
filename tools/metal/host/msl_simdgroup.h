// Barriers, SIMD-group functions and simdgroup_matrix on the host runtime.
#pragma once

#include <cstring>

#include "msl_math.h"
#include "msl_runtime.h"

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
MSL_FN mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }
MSL_FN void threadgroup_barrier(mem_flags flags) { msl_threadgroup_barrier(int(flags)); }
MSL_FN void simdgroup_barrier(mem_flags flags) { msl_simdgroup_barrier(int(flags)); }

}  // namespace metal

namespace msl {

constexpr int kLanes = 32;

// Reductions pair lanes l and l + 16, then l + 8, ...: a butterfly, over the lanes present.
template <typename T, typename Op>
void combine_reduce(void* const* lanes) {
  T values[kLanes];
  bool present[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    present[l] = lanes[l] != nullptr;
    if (present[l]) values[l] = *static_cast<T*>(lanes[l]);
  }
  for (int width = kLanes / 2; width; width /= 2) {
    for (int l = 0; l < width; ++l) {
      if (!present[l + width]) continue;
      values[l] = present[l] ? T(Op::apply(values[l], values[l + width])) : values[l + width];
      present[l] = true;
    }
  }
  for (int l = 0; l < kLanes; ++l)
    if (lanes[l]) *static_cast<T*>(lanes[l]) = values[0];
}
template <typename Op, typename T>
MSL_FN T reduce(T value) {
  msl_exchange(&value, &combine_reduce<T, Op>);
  return value;
}

template <typename T, typename Op, bool inclusive>
void combine_scan(void* const* lanes) {
  T running = Op::template identity<T>();
  for (int l = 0; l < kLanes; ++l) {
    if (!lanes[l]) continue;
    T& lane = *static_cast<T*>(lanes[l]);
    const T before = running;
    running = T(Op::apply(running, lane));
    lane = inclusive ? running : before;
  }
}

struct Sum {
  template <typename T>
  static MSL_FN T identity() { return T(0); }
  template <typename T>
  static MSL_FN T apply(T a, T b) { return T(a + b); }
};
struct Product {
  template <typename T>
  static MSL_FN T apply(T a, T b) { return T(a * b); }
};
struct Max {
  template <typename T>
  static MSL_FN T apply(T a, T b) { return metal::max(a, b); }
};
struct Min {
  template <typename T>
  static MSL_FN T apply(T a, T b) { return metal::min(a, b); }
};
struct And {
  template <typename T>
  static MSL_FN T apply(T a, T b) { return T(a & b); }
};
struct Or {
  template <typename T>
  static MSL_FN T apply(T a, T b) { return T(a | b); }
};
struct Xor {
  template <typename T>
  static MSL_FN T apply(T a, T b) { return T(a ^ b); }
};

// Each lane names the lane whose value it wants.
template <typename T>
struct Shuffle {
  T value;
  uint source;
};
template <typename T>
void combine_shuffle(void* const* lanes) {
  T values[kLanes];
  for (int l = 0; l < kLanes; ++l)
    if (lanes[l]) values[l] = static_cast<Shuffle<T>*>(lanes[l])->value;
  for (int l = 0; l < kLanes; ++l) {
    if (!lanes[l]) continue;
    auto& lane = *static_cast<Shuffle<T>*>(lanes[l]);
    if (lane.source < kLanes && lanes[lane.source]) lane.value = values[lane.source];
  }
}
template <typename T>
MSL_FN T shuffle(T value, uint source) {
  Shuffle<T> lane{value, source};
  msl_exchange(&lane, &combine_shuffle<T>);
  return lane.value;
}

}  // namespace msl

namespace metal {

#define MSL_REDUCTION(name, Op)                            \
  template <typename T>                                    \
  MSL_FN T simd_##name(T value) {                          \
    return msl::reduce<msl::Op>(value);                    \
  }
MSL_REDUCTION(sum, Sum)
MSL_REDUCTION(product, Product)
MSL_REDUCTION(max, Max)
MSL_REDUCTION(min, Min)
MSL_REDUCTION(and, And)
MSL_REDUCTION(or, Or)
MSL_REDUCTION(xor, Xor)
#undef MSL_REDUCTION
template <typename T>
MSL_FN T simd_prefix_inclusive_sum(T value) {
  msl_exchange(&value, &msl::combine_scan<T, msl::Sum, true>);
  return value;
}
template <typename T>
MSL_FN T simd_prefix_exclusive_sum(T value) {
  msl_exchange(&value, &msl::combine_scan<T, msl::Sum, false>);
  return value;
}
MSL_FN bool simd_any(bool value) { return msl::reduce<msl::Or>(uint(value)) != 0; }
MSL_FN bool simd_all(bool value) { return msl::reduce<msl::And>(uint(value)) != 0; }
MSL_FN bool simd_is_first() { return msl_lane() == 0; }

template <typename T>
MSL_FN T simd_shuffle(T value, ushort lane) { return msl::shuffle(value, lane); }
template <typename T>
MSL_FN T simd_broadcast(T value, ushort lane) { return msl::shuffle(value, lane); }
template <typename T>
MSL_FN T simd_broadcast_first(T value) { return msl::shuffle(value, 0); }
template <typename T>
MSL_FN T simd_shuffle_xor(T value, ushort mask) { return msl::shuffle(value, msl_lane() ^ mask); }
template <typename T>
MSL_FN T simd_shuffle_down(T value, ushort delta) {
  return msl::shuffle(value, msl_lane() + delta);
}
template <typename T>
MSL_FN T simd_shuffle_up(T value, ushort delta) { return msl::shuffle(value, msl_lane() - delta); }
template <typename T>
MSL_FN T quad_shuffle_xor(T value, ushort mask) {
  return msl::shuffle(value, msl_lane() ^ (mask & 3));
}
template <typename T>
MSL_FN T quad_broadcast(T value, ushort lane) {
  return msl::shuffle(value, (msl_lane() & ~3u) | (lane & 3));
}
template <typename T>
MSL_FN T quad_sum(T value) {
  value = T(value + quad_shuffle_xor(value, 1));
  return T(value + quad_shuffle_xor(value, 2));
}

// An 8x8 matrix held by a simdgroup: every lane has two neighbours of one row, laid out as on
// Apple GPUs (the layout MLX's own kernels rely on when they use thread_elements()).
template <typename T, int Rows, int Cols>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Cols == 8, "Metal has 8x8 simdgroup matrices only");
  vec<T, 2> elements;

  simdgroup_matrix() = default;
  MSL_FN explicit simdgroup_matrix(T diagonal) {
    const uint lane = msl_lane();
    for (int i = 0; i < 2; ++i) elements[i] = row(lane) == column(lane) + i ? diagonal : T(0);
  }
  MSL_FN vec<T, 2>& thread_elements() { return elements; }
  MSL_FN const vec<T, 2>& thread_elements() const { return elements; }

  static MSL_FN constexpr uint row(uint lane) { return ((lane / 4) & 4) + (lane / 2) % 4; }
  static MSL_FN constexpr uint column(uint lane) { return ((lane / 4) & 2) * 2 + (lane % 2) * 2; }
};

typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <typename T, int Rows, int Cols = Rows>
MSL_FN simdgroup_matrix<T, Rows, Cols> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Rows, Cols> m;
  m.elements = vec<T, 2>(value);
  return m;
}

// Element (row, column) is memory[row * stride + column] from `origin` (x: column, y: row) on.
template <typename T>
MSL_FN void simdgroup_load(simdgroup_matrix<T, 8, 8>& m, const T* memory, ulong stride = 8,
                           vec<ulong, 2> origin = vec<ulong, 2>(0ul), bool transpose = false) {
  const ulong row = m.row(msl_lane()), column = m.column(msl_lane());
  const T* from = memory + origin.y * stride + origin.x;
  for (ulong i = 0; i < 2; ++i)
    m.elements[i] = transpose ? from[(column + i) * stride + row] : from[row * stride + column + i];
}
template <typename T>
MSL_FN void simdgroup_store(const simdgroup_matrix<T, 8, 8>& m, T* memory, ulong stride = 8,
                            vec<ulong, 2> origin = vec<ulong, 2>(0ul), bool transpose = false) {
  const ulong row = m.row(msl_lane()), column = m.column(msl_lane());
  T* to = memory + origin.y * stride + origin.x;
  for (ulong i = 0; i < 2; ++i)
    (transpose ? to[(column + i) * stride + row] : to[row * stride + column + i]) = m.elements[i];
}

}  // namespace metal

namespace msl {

struct MatrixLane {
  float a[2], b[2], c[2];
};
// c += a * b, in float, over the whole simdgroup at once.
inline void combine_multiply_accumulate(void* const* lanes) {
  typedef metal::simdgroup_matrix<float, 8, 8> Layout;
  float a[8][8], b[8][8], c[8][8];
  for (int l = 0; l < kLanes; ++l) {
    if (!lanes[l]) continue;
    const MatrixLane& lane = *static_cast<const MatrixLane*>(lanes[l]);
    const uint row = Layout::row(l), column = Layout::column(l);
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
    memcpy(static_cast<MatrixLane*>(lanes[l])->c, &c[Layout::row(l)][Layout::column(l)],
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
    lane.a[i] = float(a.elements[i]);
    lane.b[i] = float(b.elements[i]);
    lane.c[i] = float(c.elements[i]);
  }
  msl_exchange(&lane, &msl::combine_multiply_accumulate);
  for (int i = 0; i < 2; ++i) d.elements[i] = D(lane.c[i]);
}
template <typename D, typename A, typename B>
MSL_FN void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                               const simdgroup_matrix<B, 8, 8>& b) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)));
}

}  // namespace metal
