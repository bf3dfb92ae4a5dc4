// Quants of two bits, as Q2_K, Q3_K and TQ2_0 lay 256 of them out in 64 bytes: each half h of
// 128 weights is four runs of 32, and weight 128 h + 32 run + i lies at bit 2 run of byte
// 32 h + i.
#pragma once
#include "grouped.h"

namespace gguf {

// The byte that holds the first of weights 4 i .. 4 i + 3, and the bit.
inline uint two_bit_byte(uint i) { return i / 32 * 32 + i % 8 * 4; }
inline uint two_bit_shift(uint i) { return i / 8 % 4 * 2; }

}  // namespace gguf
