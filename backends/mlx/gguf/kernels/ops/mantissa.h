// Small integers as halves, made by placing their bits in a mantissa: no conversion.
//
// The half 2^E has the bits (15 + E) << 10, and a number m below 1024 in its mantissa adds
// 2^(E - 10) m. So the bits 0x6400 + m are those of 1024 + m; numbers in a field that begins at bit
// k count 2^k times. The 2^E leaves later: as a constant, or with the sum of the activations that a
// product starts from. A word holds two halves, and all of this is done to both at once.
#pragma once
#include "common.h"

namespace gguf {

// The bits of the half 2^E, and of a pair of them.
template <uint E>
struct Power {
    enum : uint { BITS = (15 + E) << 10, PAIR = BITS * 0x00010001u };
};

// 1024 + m, of the two numbers m of a word.
inline half2 above_1024(uint numbers) { return as_type<half2>(numbers | Power<10>::PAIR); }

// 1024 + 16 m, of the two numbers m of a word, which are below 64. The shift and the sum are one
// operation.
inline half2 above_1024_by_16(uint numbers) {
    return as_type<half2>((numbers << 4) + Power<10>::PAIR);
}

// 1152 + m, of the two signed bytes m that are low in the halves of a word: with its sign bit
// flipped a byte is 128 + m.
inline half2 above_1152(uint bytes) {
    return as_type<half2>(bytes ^ (Power<10>::PAIR + 0x00800080u));
}

// 1024 + 16 m, of the four bytes m of a word, which are below 64: of bytes 0 and 2, and 1 and 3.
inline half2 even_bytes(uint word) { return above_1024_by_16(word & 0x00FF00FFu); }
inline half2 odd_bytes(uint word) { return above_1024(word >> 4 & 0x0FF00FF0u); }

}  // namespace gguf
