// Barriers and SIMD-group functions on the host runtime.
#pragma once

#include "msl_math.h"
#include "msl_wait.h"

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
MSL_FN mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }
MSL_FN void threadgroup_barrier(mem_flags flags) { msl::threadgroup_barrier(int(flags)); }
MSL_FN void simdgroup_barrier(mem_flags flags) { msl::simdgroup_barrier(int(flags)); }

}  // namespace metal

namespace msl {

constexpr int kLanes = 32;

// Reductions pair lanes l and l + 16, then l + 8, ...: a butterfly, over the lanes present.
template <typename T, typename Op>
void combine_reduce(void* const* lanes) {
    T values[kLanes];
    bool whole = true;
    for (int l = 0; l < kLanes; ++l) whole &= lanes[l] != nullptr;
    if (whole) {  // nearly always: the same without questions
        for (int l = 0; l < kLanes; ++l) values[l] = *static_cast<T*>(lanes[l]);
        for (int width = kLanes / 2; width; width /= 2)
            for (int l = 0; l < width; ++l) values[l] = T(Op::apply(values[l], values[l + width]));
        for (int l = 0; l < kLanes; ++l) *static_cast<T*>(lanes[l]) = values[0];
        return;
    }
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
    exchange(&value, &combine_reduce<T, Op>);
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
    static MSL_FN T identity() {
        return T(0);
    }
    template <typename T>
    static MSL_FN T apply(T a, T b) {
        return T(a + b);
    }
};
struct Product {
    template <typename T>
    static MSL_FN T apply(T a, T b) {
        return T(a * b);
    }
};
struct Max {
    template <typename T>
    static MSL_FN T apply(T a, T b) {
        return metal::max(a, b);
    }
};
struct Min {
    template <typename T>
    static MSL_FN T apply(T a, T b) {
        return metal::min(a, b);
    }
};
struct And {
    template <typename T>
    static MSL_FN T apply(T a, T b) {
        return T(a & b);
    }
};
struct Or {
    template <typename T>
    static MSL_FN T apply(T a, T b) {
        return T(a | b);
    }
};
struct Xor {
    template <typename T>
    static MSL_FN T apply(T a, T b) {
        return T(a ^ b);
    }
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
    exchange(&lane, &combine_shuffle<T>);
    return lane.value;
}

}  // namespace msl

namespace metal {

#define MSL_REDUCTION(name, Op)             \
    template <typename T>                   \
    MSL_FN T simd_##name(T value) {         \
        return msl::reduce<msl::Op>(value); \
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
    msl::exchange(&value, &msl::combine_scan<T, msl::Sum, true>);
    return value;
}
template <typename T>
MSL_FN T simd_prefix_exclusive_sum(T value) {
    msl::exchange(&value, &msl::combine_scan<T, msl::Sum, false>);
    return value;
}
MSL_FN bool simd_any(bool value) { return msl::reduce<msl::Or>(uint(value)) != 0; }
MSL_FN bool simd_all(bool value) { return msl::reduce<msl::And>(uint(value)) != 0; }
MSL_FN bool simd_is_first() { return msl_lane() == 0; }

template <typename T>
MSL_FN T simd_shuffle(T value, ushort lane) {
    return msl::shuffle(value, lane);
}
template <typename T>
MSL_FN T simd_broadcast(T value, ushort lane) {
    return msl::shuffle(value, lane);
}
template <typename T>
MSL_FN T simd_broadcast_first(T value) {
    return msl::shuffle(value, 0);
}
template <typename T>
MSL_FN T simd_shuffle_xor(T value, ushort mask) {
    return msl::shuffle(value, msl_lane() ^ mask);
}
template <typename T>
MSL_FN T simd_shuffle_down(T value, ushort delta) {
    return msl::shuffle(value, msl_lane() + delta);
}
template <typename T>
MSL_FN T simd_shuffle_up(T value, ushort delta) {
    return msl::shuffle(value, msl_lane() - delta);
}
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

}  // namespace metal
