typedef gguf::MatMat<Format, InT, OUTPUTS, X_ROWS, SIMDGROUPS> T;
threadgroup vec<InT, 2> w_pairs[T::N * T::STRIDE / 2];
threadgroup vec<InT, 2> x_pairs[T::M * T::STRIDE / 2];
threadgroup float factors[T::FACTORS];
const typename T::Tiles tiles = {w_pairs, x_pairs, factors};
const gguf::Thread place = {threadgroup_position_in_grid, thread_index_in_threadgroup,
                            simdgroup_index_in_threadgroup, thread_index_in_simdgroup};
const uint m0 = place.group.y * T::M;
const uint m_rows = gguf::leading_rows(x_shape, x_ndim);
const gguf::RowRange rows = {m0, min(m_rows - m0, (uint)T::M)};
const gguf::Weight matrix = {weight, (uint)weight_shape[0], (uint)weight_shape[1]};
gguf::qmm<T>(x, matrix, GGUF_BIAS, out, tiles, rows, place);
