// Linear, mat-mat: many rows of x. Prefill.
//
// A threadgroup of four simdgroups computes a tile of 64 outputs for 32 rows of x, 32
// weights of each row at a time. Every weight is decoded once for the 32 rows, to float:
// halves would break the accuracy rule, and simdgroup matrices of floats are as fast.
// Simdgroup s computes outputs 32 (s % 2) .. + 31 for rows 16 (s / 2) .. + 15 of x.
#pragma once
#include "fragment.h"

namespace gguf {

struct MatMat {
    enum : uint {
        N = 64,           // outputs of a tile
        M = 32,           // rows of x of a tile
        K = 32,           // weights of a row taken at a time
        THREADS = 128,
        STRIDE = K + 4,   // of a row in threadgroup memory: 8 rows, 8 different banks
    };
};

template <typename F, typename InT, typename OutT, typename Bias>
inline void qmm(device const InT* x, device const uchar* weight, Bias bias, device OutT* out,
                threadgroup float* w_tile, threadgroup float* x_tile, uint n_rows,
                uint row_bytes, uint m_rows, uint3 group, uint thread_index, uint simdgroup,
                uint lane) {
    typedef MatMat T;
    const uint n0 = group.x * T::N, m0 = group.y * T::M;
    const uint columns = row_bytes / F::BYTES * F::WEIGHTS;

    // What a thread brings to the tiles: 16 weights of a row, 8 activations of a row.
    // Rows past the last repeat the last one; their products are not stored.
    const uint w_row = thread_index / 2, w_part = thread_index % 2;
    const uint x_row = thread_index / 4, x_part = thread_index % 4;
    device const uchar* w_from = weight + (ulong)min(n0 + w_row, n_rows - 1) * row_bytes;
    device const InT* x_from = x + (ulong)min(m0 + x_row, m_rows - 1) * columns + 8 * x_part;
    threadgroup float* w_to = w_tile + w_row * T::STRIDE + 16 * w_part;
    threadgroup float* x_to = x_tile + x_row * T::STRIDE + 8 * x_part;

    threadgroup const float* left_from = w_tile + simdgroup % 2 * 32 * T::STRIDE;
    threadgroup const float* right_from = x_tile + simdgroup / 2 * 16 * T::STRIDE;
    simdgroup_float8x8 sum[4][2];
    GGUF_UNROLL for (uint i = 0; i < 4; ++i) {
        GGUF_UNROLL for (uint j = 0; j < 2; ++j)
            sum[i][j] = make_filled_simdgroup_matrix<float, 8>(0.0f);
    }

    for (uint k = 0; k < columns; k += T::K) {
        float w[16], v[8];
        F::template decode<16>(w_from + k / F::WEIGHTS * F::BYTES,
                               k % F::WEIGHTS / 16 + w_part, w);
        load4(x_from + k, v);
        load4(x_from + k + 4, v + 4);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        GGUF_UNROLL for (uint i = 0; i < 16; ++i) w_to[i] = w[i];
        GGUF_UNROLL for (uint i = 0; i < 8; ++i) x_to[i] = v[i];
        threadgroup_barrier(mem_flags::mem_threadgroup);

        GGUF_UNROLL for (uint kk = 0; kk < T::K; kk += 8) {
            simdgroup_float8x8 left[4], right[2];
            GGUF_UNROLL for (uint i = 0; i < 4; ++i)
                simdgroup_load(left[i], left_from + 8 * i * T::STRIDE + kk, T::STRIDE);
            GGUF_UNROLL for (uint j = 0; j < 2; ++j)
                simdgroup_load(right[j], right_from + 8 * j * T::STRIDE + kk, T::STRIDE,
                               ulong2(0, 0), true);
            GGUF_UNROLL for (uint i = 0; i < 4; ++i) {
                GGUF_UNROLL for (uint j = 0; j < 2; ++j)
                    simdgroup_multiply_accumulate(sum[i][j], left[i], right[j], sum[i][j]);
            }
        }
    }

    const Fragment at(lane);
    GGUF_UNROLL for (uint i = 0; i < 4; ++i) {
        GGUF_UNROLL for (uint j = 0; j < 2; ++j)
            store(sum[i][j], at, n0 + simdgroup % 2 * 32 + 8 * i, m0 + simdgroup / 2 * 16 + 8 * j,
                  n_rows, m_rows, bias, out);
    }
}

}  // namespace gguf
