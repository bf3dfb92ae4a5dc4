// Copies of vectors as single loads and stores, which nvcc does not make of a union by itself.
//
// Apple GPUs load a packed vector in one instruction, wherever it starts; CUDA only when it is
// aligned. Without MSL_ALIGNED_PACKED, packed vectors and rows of simdgroup matrices are tested
// at run time; with it they are promised to be aligned, which costs nothing, as on Apple. A
// broken promise ends in a misaligned-address error, not in wrong results.
#pragma once

namespace metal {
template <typename T, int N>
struct vec;
}

namespace msl {

template <int Bytes>
struct word;  // the type that one instruction moves, or a few of them
template <>
struct word<1> {
    typedef unsigned char type;
};
template <>
struct word<2> {
    typedef unsigned short type;
};
template <>
struct word<4> {
    typedef unsigned int type;
};
template <>
struct word<8> {
    typedef uint2 type;
};
template <>
struct word<16> {
    typedef uint4 type;
};
template <>
struct word<32> {
    struct type {
        uint4 halves[2];
    };
};

// `from` is aligned like To.
template <typename To>
MSL_FN void copy_whole(To* to, const void* from) {
    typedef typename word<sizeof(To)>::type Word;
    *reinterpret_cast<Word*>(to) = *static_cast<const Word*>(from);
}

// `from` is aligned like T, one element.
template <typename T, int N>
MSL_FN void copy_packed(metal::vec<T, N>* to, const T* from) {
#ifdef MSL_ALIGNED_PACKED
    constexpr bool promised = true;
#else
    constexpr bool promised = false;
#endif
    // Three elements take the room of four: loading four would pass their end.
    if (N != 3 && (promised || reinterpret_cast<size_t>(from) % sizeof(*to) == 0)) {
        copy_whole(to, from);
    } else {
        for (int i = 0; i < N; ++i) to->d[i] = from[i];
    }
}

}  // namespace msl

#define MSL_COPY_WHOLE(to, from) msl::copy_whole(to, from)
#define MSL_COPY_PACKED(to, from) msl::copy_packed(to, from)
