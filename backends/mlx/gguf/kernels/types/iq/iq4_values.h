// The 16 values of IQ4_NL and IQ4_XS (ggml's kvalues_iq4nl).
#pragma once
#include "../grouped.h"

namespace gguf {

constant half IQ4_VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace gguf
