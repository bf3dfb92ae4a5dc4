// Vector, packed vector and matrix types of the Metal Shading Language.
#pragma once

#include "msl_scalar.h"

namespace metal {
template <typename T, int N>
struct vec;
}

namespace msl {

// A named selection of a vector's components, such as `v.xy`; it shares the vector's storage.
template <typename T, int Stored, int... Index>
struct swizzle {
    T d[Stored];

    MSL_FN operator metal::vec<T, sizeof...(Index)>() const {
        metal::vec<T, sizeof...(Index)> result;
        int i = 0;
        ((result.d[i++] = d[Index]), ...);
        return result;
    }
    MSL_FN swizzle& operator=(const metal::vec<T, sizeof...(Index)>& from) {
        int i = 0;
        ((d[Index] = from.d[i++]), ...);
        return *this;
    }
    MSL_FN swizzle& operator=(const swizzle& from) {
        return *this = metal::vec<T, sizeof...(Index)>(from);
    }
};

// Storage of a vector: its elements under every name they have. Three-element vectors take the
// room of four, as in Metal. Assignment is spelled out, since a swizzle that assigns only what it
// names leaves the union without one. It copies the whole, as one access.
#ifdef MSL_CHECK
#define MSL_COPY_WHOLE(to, from)
#elif !defined(MSL_COPY_WHOLE)
#define MSL_COPY_WHOLE(to, from) __builtin_memcpy(to, from, sizeof *(to))
#endif
#ifdef __CUDACC__  // which copies a union byte by byte
#define MSL_CONSTRUCT_WHOLE \
    MSL_FN storage(const storage& from) { MSL_COPY_WHOLE(this, &from); }
#else
#define MSL_CONSTRUCT_WHOLE storage(const storage&) = default;
#endif
#define MSL_ASSIGN_WHOLE                             \
    storage() = default;                             \
    MSL_CONSTRUCT_WHOLE                              \
    MSL_FN storage& operator=(const storage& from) { \
        MSL_COPY_WHOLE(this, &from);                 \
        return *this;                                \
    }
template <typename T, int N>
struct storage;
template <typename T>
struct alignas(2 * sizeof(T)) storage<T, 2> {
    union {
        T d[2];
        struct {
            T x, y;
        };
        struct {
            T r, g;
        };
        swizzle<T, 2, 0, 0> xx;
        swizzle<T, 2, 1, 0> yx;
        swizzle<T, 2, 1, 1> yy;
    };
    MSL_ASSIGN_WHOLE
};
#define MSL_THREE_COMPONENT_NAMES(n) \
    swizzle<T, n, 0, 1> xy;          \
    swizzle<T, n, 0, 2> xz;          \
    swizzle<T, n, 1, 0> yx;          \
    swizzle<T, n, 1, 2> yz;          \
    swizzle<T, n, 2, 0> zx;          \
    swizzle<T, n, 2, 1> zy
template <typename T>
struct alignas(4 * sizeof(T)) storage<T, 3> {
    union {
        T d[4];
        struct {
            T x, y, z;
        };
        struct {
            T r, g, b;
        };
        MSL_THREE_COMPONENT_NAMES(4);
    };
    MSL_ASSIGN_WHOLE
};
template <typename T>
struct alignas(4 * sizeof(T)) storage<T, 4> {
    union {
        T d[4];
        struct {
            T x, y, z, w;
        };
        struct {
            T r, g, b, a;
        };
        MSL_THREE_COMPONENT_NAMES(4);
        swizzle<T, 4, 0, 3> xw;
        swizzle<T, 4, 1, 3> yw;
        swizzle<T, 4, 2, 3> zw;
        swizzle<T, 4, 3, 2> wz;
        swizzle<T, 4, 0, 1, 2> xyz;
        swizzle<T, 4, 1, 2, 3> yzw;
        swizzle<T, 4, 3, 2, 1, 0> wzyx;
    };
    MSL_ASSIGN_WHOLE
};
#undef MSL_THREE_COMPONENT_NAMES
#undef MSL_ASSIGN_WHOLE
#undef MSL_CONSTRUCT_WHOLE
#undef MSL_COPY_WHOLE

template <typename T>
MSL_CONSTANT constexpr int components = 1;
template <typename T, int N>
MSL_CONSTANT constexpr int components<metal::vec<T, N>> = N;
template <typename T, int Stored, int... Index>
MSL_CONSTANT constexpr int components<swizzle<T, Stored, Index...>> = sizeof...(Index);

// The vector that an operand stands for.
template <typename T, int N>
MSL_FN metal::vec<T, N> whole(metal::vec<T, N> v) {
    return v;
}
template <typename T, int Stored, int... Index>
MSL_FN metal::vec<T, sizeof...(Index)> whole(swizzle<T, Stored, Index...> v) {
    return v;
}

}  // namespace msl

namespace metal {

template <typename T, int N>
struct vec : msl::storage<T, N> {
    using msl::storage<T, N>::d;

    vec() = default;
    template <typename U, std::enable_if_t<msl::is_scalar<U>, int> = 0>
    MSL_FN vec(U value) {
        for (int i = 0; i < N; ++i) d[i] = T(value);
    }
    // Vectors of another element type convert only explicitly.
    template <typename U, std::enable_if_t<!std::is_same<U, T>::value, int> = 0>
    MSL_FN explicit vec(const vec<U, N>& from) {
        for (int i = 0; i < N; ++i) d[i] = T(from.d[i]);
    }
    // Any mix of scalars and vectors that adds up to N components.
    template <typename A, typename B, typename... More>
    MSL_FN vec(A a, B b, More... more) {
        static_assert(
            msl::components<A> + msl::components<B> + (0 + ... + msl::components<More>) == N,
            "vector constructor: wrong number of components");
        int at = 0;
        append(at, a);
        append(at, b);
        (append(at, more), ...);
    }

    MSL_FN T& operator[](int i) { return d[i]; }
    MSL_FN const T& operator[](int i) const { return d[i]; }
#ifdef MSL_CHECK
    vec(const vec&) = default;
    vec(const __constant vec& from);
    const __constant T& operator[](int i) const __constant;
#endif

  private:
    template <typename U>
    MSL_FN void append(int& at, U part) {
        if constexpr (msl::components<U> == 1) {
            d[at++] = T(part);
        } else {
            const auto values = msl::whole(part);
            for (int i = 0; i < msl::components<U>; ++i) d[at++] = T(values.d[i]);
        }
    }
};

#define MSL_VECTOR_OPERATOR(op)                                                            \
    template <typename T, int N>                                                           \
    MSL_FN vec<T, N> operator op(const vec<T, N>& a, const vec<T, N>& b) {                 \
        vec<T, N> r;                                                                       \
        for (int i = 0; i < N; ++i) r.d[i] = T(a.d[i] op b.d[i]);                          \
        return r;                                                                          \
    }                                                                                      \
    template <typename T, int N, typename S, std::enable_if_t<msl::is_scalar<S>, int> = 0> \
    MSL_FN vec<T, N> operator op(const vec<T, N>& a, S b) {                                \
        return a op vec<T, N>(b);                                                          \
    }                                                                                      \
    template <typename T, int N, typename S, std::enable_if_t<msl::is_scalar<S>, int> = 0> \
    MSL_FN vec<T, N> operator op(S a, const vec<T, N>& b) {                                \
        return vec<T, N>(a) op b;                                                          \
    }                                                                                      \
    template <typename T, int N, typename S>                                               \
    MSL_FN vec<T, N>& operator op## = (vec<T, N> & a, S b) {                               \
        return a = a op b;                                                                 \
    }
#define MSL_EACH_OPERATOR(DO) DO(+) DO(-) DO(*) DO(/) DO(%) DO(&) DO(|) DO(^) DO(<<) DO(>>)
MSL_EACH_OPERATOR(MSL_VECTOR_OPERATOR)
#undef MSL_VECTOR_OPERATOR

#define MSL_VECTOR_COMPARISON(op)                                                          \
    template <typename T, int N>                                                           \
    MSL_FN vec<bool, N> operator op(const vec<T, N>& a, const vec<T, N>& b) {              \
        vec<bool, N> r;                                                                    \
        for (int i = 0; i < N; ++i) r.d[i] = a.d[i] op b.d[i];                             \
        return r;                                                                          \
    }                                                                                      \
    template <typename T, int N, typename S, std::enable_if_t<msl::is_scalar<S>, int> = 0> \
    MSL_FN vec<bool, N> operator op(const vec<T, N>& a, S b) {                             \
        return a op vec<T, N>(b);                                                          \
    }
MSL_VECTOR_COMPARISON(==)
MSL_VECTOR_COMPARISON(!=)
MSL_VECTOR_COMPARISON(<)
MSL_VECTOR_COMPARISON(<=)
MSL_VECTOR_COMPARISON(>)
MSL_VECTOR_COMPARISON(>=)
#undef MSL_VECTOR_COMPARISON

template <typename T, int N>
MSL_FN vec<T, N> operator-(const vec<T, N>& a) {
    vec<T, N> r;
    for (int i = 0; i < N; ++i) r.d[i] = T(-a.d[i]);
    return r;
}
template <typename T, int N>
MSL_FN vec<T, N> operator~(const vec<T, N>& a) {
    vec<T, N> r;
    for (int i = 0; i < N; ++i) r.d[i] = T(~a.d[i]);
    return r;
}
template <typename T, int N>
MSL_FN T dot(const vec<T, N>& a, const vec<T, N>& b) {
    T sum = T(a.d[0] * b.d[0]);
    for (int i = 1; i < N; ++i) sum = T(sum + a.d[i] * b.d[i]);
    return sum;
}

// Column-major: C columns of R rows.
template <typename T, int C, int R>
struct matrix {
    vec<T, R> columns[C];

    matrix() = default;
    MSL_FN explicit matrix(T diagonal) {
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r) columns[c][r] = c == r ? diagonal : T(0);
    }
    template <typename U>
    MSL_FN explicit matrix(const matrix<U, C, R>& from) {
        for (int c = 0; c < C; ++c) columns[c] = vec<T, R>(from.columns[c]);
    }
    template <typename... More, std::enable_if_t<sizeof...(More) == C - 1, int> = 0>
    MSL_FN matrix(const vec<T, R>& first, const More&... more) : columns{first, more...} {}

    MSL_FN vec<T, R>& operator[](int c) { return columns[c]; }
    MSL_FN const vec<T, R>& operator[](int c) const { return columns[c]; }
};

}  // namespace metal

namespace msl {

// packed_T#: a vector aligned like its element. It is loaded and stored whole and computes as vec.
template <typename T, int N>
struct packed {
    T d[N];

    packed() = default;
    MSL_FN packed(const metal::vec<T, N>& from) {
        for (int i = 0; i < N; ++i) d[i] = from.d[i];
    }
    template <typename... S, std::enable_if_t<sizeof...(S) == N && (is_scalar<S> && ...), int> = 0>
    MSL_FN packed(S... values) : d{T(values)...} {}
    template <typename S, std::enable_if_t<is_scalar<S>, int> = 0>
    MSL_FN packed(S value) : packed(metal::vec<T, N>(value)) {}
    MSL_FN operator metal::vec<T, N>() const {
        metal::vec<T, N> r;
#ifdef MSL_COPY_PACKED
        MSL_COPY_PACKED(&r, d);
#else
        for (int i = 0; i < N; ++i) r.d[i] = d[i];
#endif
        return r;
    }
    template <typename U, std::enable_if_t<!std::is_same<U, T>::value, int> = 0>
    MSL_FN explicit operator metal::vec<U, N>() const {
        return metal::vec<U, N>(metal::vec<T, N>(*this));
    }
    MSL_FN T& operator[](int i) { return d[i]; }
    MSL_FN const T& operator[](int i) const { return d[i]; }
#ifdef MSL_CHECK
    packed(const packed&) = default;
    packed(const __constant packed& from);
    operator metal::vec<T, N>() const __constant;
    const __constant T& operator[](int i) const __constant;
#endif
};

template <typename T, int N>
MSL_FN metal::vec<T, N> whole(packed<T, N> v) {
    return v;
}

// Swizzles and packed vectors compute as the vectors they stand for.
template <typename T>
MSL_CONSTANT constexpr bool stands_for_vector = false;
template <typename T, int Stored, int... Index>
MSL_CONSTANT constexpr bool stands_for_vector<swizzle<T, Stored, Index...>> = true;
template <typename T, int N>
MSL_CONSTANT constexpr bool stands_for_vector<packed<T, N>> = true;
template <typename T, std::enable_if_t<is_scalar<T>, int> = 0>
MSL_FN T whole(T v) {
    return v;
}
#define MSL_STAND_IN_OPERATOR(op)                                                      \
    template <typename A, typename B,                                                  \
              std::enable_if_t<stands_for_vector<A> || stands_for_vector<B>, int> = 0> \
    MSL_FN auto operator op(A a, B b) {                                                \
        return whole(a) op whole(b);                                                   \
    }
MSL_EACH_OPERATOR(MSL_STAND_IN_OPERATOR)
#undef MSL_STAND_IN_OPERATOR
#undef MSL_EACH_OPERATOR

}  // namespace msl

#ifndef MSL_NO_VECTOR_NAMES  // nvcc has vector types of these names already
#define MSL_NAME_VECTORS(T, name)               \
    typedef metal::vec<T, 2> name##2;           \
    typedef metal::vec<T, 3> name##3;           \
    typedef metal::vec<T, 4> name##4;           \
    typedef msl::packed<T, 2> packed_##name##2; \
    typedef msl::packed<T, 3> packed_##name##3; \
    typedef msl::packed<T, 4> packed_##name##4;
MSL_NAME_VECTORS(bool, bool)
MSL_NAME_VECTORS(int8_t, char)
MSL_NAME_VECTORS(uchar, uchar)
MSL_NAME_VECTORS(short, short)
MSL_NAME_VECTORS(ushort, ushort)
MSL_NAME_VECTORS(int, int)
MSL_NAME_VECTORS(uint, uint)
MSL_NAME_VECTORS(long, long)
MSL_NAME_VECTORS(ulong, ulong)
MSL_NAME_VECTORS(float, float)
MSL_NAME_VECTORS(half, half)
MSL_NAME_VECTORS(bfloat, bfloat)
#undef MSL_NAME_VECTORS

#define MSL_NAME_MATRICES(T, name)            \
    typedef metal::matrix<T, 2, 2> name##2x2; \
    typedef metal::matrix<T, 2, 3> name##2x3; \
    typedef metal::matrix<T, 2, 4> name##2x4; \
    typedef metal::matrix<T, 3, 2> name##3x2; \
    typedef metal::matrix<T, 3, 3> name##3x3; \
    typedef metal::matrix<T, 3, 4> name##3x4; \
    typedef metal::matrix<T, 4, 2> name##4x2; \
    typedef metal::matrix<T, 4, 3> name##4x3; \
    typedef metal::matrix<T, 4, 4> name##4x4;
MSL_NAME_MATRICES(float, float)
MSL_NAME_MATRICES(half, half)
#undef MSL_NAME_MATRICES
#endif
