// Q4_0: blocks of 32 weights in 18 bytes (layout: ggml's block_q4_0).
//
//   bytes 0-1   half d   weight = d (q - 8)
//   bytes 2-17  nibbles: see block_32.h
#pragma once
#include "block_32.h"

namespace gguf {

struct Q4_0 {
    struct Block {
        half d;
        uchar quants[16];
    };
    static_assert(sizeof(Block) == 18, "block_q4_0 has 18 bytes");
    static_assert(GGUF_OFFSET(d) == 0, "the half that factors() reads");
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block), BITS = 4, ZERO = 8 };
    enum : uint { QUANTS = GGUF_OFFSET(quants) };
    typedef ushort Word;  // the widest load that the alignment of the blocks allows

    static float2 factors(device const uchar* block) {
        const float d = (float)*(device const half*)block;
        return float2(d, -(float)ZERO * d);
    }
    static uint fifth(device const uchar*) { return 0; }

    static void decode16(device const uchar* block, uint i, thread float* w) {
        decode16_of_32<Q4_0>(block, i, w);
    }
    typedef Matrix32<Q4_0> Matrix;
    template <uint ROWS, uint X_ROWS>
    using MatVec = MatVec32<Q4_0, ROWS, X_ROWS>;
};

}  // namespace gguf

typedef gguf::Q4_0 Format;
