typedef gguf::MatMat<Format, InT> T;
threadgroup vec<InT, 2> w_pairs[T::N * T::STRIDE / 2];
threadgroup vec<InT, 2> x_pairs[T::M * T::STRIDE / 2];
threadgroup float factors[T::FACTORS];
const uint m0 = threadgroup_position_in_grid.y * T::M;
const uint m_rows = gguf::leading_rows(x_shape, x_ndim);
const gguf::RowRange rows = {m0, min(m_rows - m0, (uint)T::M)};
gguf::qmm<Format>(x, weight, GGUF_BIAS, out, w_pairs, x_pairs, factors, (uint)weight_shape[0],
                  (uint)weight_shape[1], rows, threadgroup_position_in_grid.x* T::N,
                  thread_index_in_threadgroup, simdgroup_index_in_threadgroup,
                  thread_index_in_simdgroup);
