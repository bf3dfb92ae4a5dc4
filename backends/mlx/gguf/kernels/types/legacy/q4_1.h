// Q4_1: blocks of 32 weights in 20 bytes (layout: ggml's block_q4_1).
//
//   bytes 0-1   half d   weight = d q + m
//   bytes 2-3   half m
//   bytes 4-19  nibbles: see block_32.h
#pragma once
#include "block_32.h"

namespace gguf {

struct Q4_1 {
    struct Block {
        half d;
        half m;
        uchar quants[16];
    };
    static_assert(sizeof(Block) == 20, "block_q4_1 has 20 bytes");
    static_assert(GGUF_OFFSET(d) == 0 && GGUF_OFFSET(m) == 2, "the pair that factors() reads");
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block), BITS = 4, ZERO = 0 };
    enum : uint { QUANTS = GGUF_OFFSET(quants) };
    typedef uint Word;  // the widest load that the alignment of the blocks allows

    static float2 factors(device const uchar* block) {
        device const half* f = (device const half*)block;
        return float2((float)f[0], (float)f[1]);
    }
    static uint fifth(device const uchar*) { return 0; }

    static void decode16(device const uchar* block, uint i, thread float* w) {
        decode16_of_32<Q4_1>(block, i, w);
    }
    typedef Matrix32<Q4_1> Matrix;
    template <uint ROWS, uint X_ROWS>
    using MatVec = MatVec32<Q4_1, ROWS, X_ROWS>;
};

}  // namespace gguf

typedef gguf::Q4_1 Format;
