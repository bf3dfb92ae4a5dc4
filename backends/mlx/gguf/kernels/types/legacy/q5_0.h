// Q5_0: blocks of 32 weights in 22 bytes (layout: ggml's block_q5_0).
//
//   bytes 0-1   half d   weight = d (q - 16)
//   bytes 2-5   fifth bits
//   bytes 6-21  nibbles: see block_32.h
#pragma once
#include "block_32.h"

namespace gguf {

struct Q5_0 {
    struct Block {
        half d;
        uchar fifth[4];
        uchar quants[16];
    };
    static_assert(sizeof(Block) == 22, "block_q5_0 has 22 bytes");
    static_assert(GGUF_OFFSET(d) == 0, "the half that factors() reads");
    enum : uint { WEIGHTS = 32, BYTES = sizeof(Block), BITS = 5, ZERO = 16 };
    enum : uint { FIFTH = GGUF_OFFSET(fifth), QUANTS = GGUF_OFFSET(quants) };
    typedef ushort Word;  // the widest load that the alignment of the blocks allows

    static float2 factors(device const uchar* block) {
        const float d = (float)*(device const half*)block;
        return float2(d, -(float)ZERO * d);
    }
    static uint fifth(device const uchar* block) {
        device const ushort* bits = (device const ushort*)(block + FIFTH);
        return as_type<uint>(ushort2(bits[0], bits[1]));
    }

    static void decode16(device const uchar* block, uint i, thread float* w) {
        decode16_of_32<Q5_0>(block, i, w);
    }
    typedef Matrix32<Q5_0> Matrix;
    template <uint ROWS, uint X_ROWS>
    using MatVec = MatVec32<Q5_0, ROWS, X_ROWS>;
};

}  // namespace gguf

typedef gguf::Q5_0 Format;
