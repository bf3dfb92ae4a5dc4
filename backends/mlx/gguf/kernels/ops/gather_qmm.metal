typedef gguf::MatMat<Format, InT, OUTPUTS, X_ROWS, SIMDGROUPS> T;
threadgroup vec<InT, 2> w_pairs[T::N * T::STRIDE / 2];
threadgroup vec<InT, 2> x_pairs[T::M * T::STRIDE / 2];
threadgroup float factors[T::FACTORS];
const typename T::Tiles tiles = {w_pairs, x_pairs, factors};
threadgroup uint list[2 * T::M];
const uint rows = gguf::elements(indices_shape, indices_ndim);
const gguf::Thread place = {threadgroup_position_in_grid, thread_index_in_threadgroup,
                            simdgroup_index_in_threadgroup, thread_index_in_simdgroup};
gguf::gather_qmm<T>(x, gguf::Experts(weight, weight_shape),
                    gguf::indices_of(indices, rows, rows / gguf::leading_rows(x_shape, x_ndim)),
                    out, tiles, list, place);
