// The 4-bit floats of MXFP4 and NVFP4, doubled (OCP Microscaling Formats 1.0, E2M1; ggml's
// kvalues_mxfp4).
#pragma once
#include "../grouped.h"

namespace gguf {

constant half E2M1_DOUBLED[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace gguf
