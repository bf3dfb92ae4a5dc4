// Linear, mat-vec in its plainest form: a thread an output, one weight after another.
#pragma once
#include "common.h"

namespace gguf {

template <typename F, typename InT, typename OutT, typename Bias>
inline void qmv_plain(device const InT* x, Weight weight, Bias bias, device OutT* out,
                      uint3 position) {
    static_assert(F::WEIGHTS % 16 == 0, "qmv_plain: decode16 gives 16 weights of one block");
    const uint n = position.x, columns = columns_of<F>(weight);
    if (n >= weight.n_rows) return;
    float sum = 0.0f;
    for (uint k = 0; k < columns; k += 16) {
        float w[16];
        F::decode16(weight.row(n) + k / F::WEIGHTS * F::BYTES, k % F::WEIGHTS / 16, w);
        for (uint i = 0; i < 16; ++i)
            sum = fma((float)x[(ulong)position.y * columns + k + i], w[i], sum);
    }
    out[(ulong)position.y * weight.n_rows + n] = (OutT)(sum + (float)bias[n]);
}

}  // namespace gguf
