typedef gguf::MatMat<Format, InT> T;
threadgroup vec<InT, 2> w_pairs[T::N * T::STRIDE / 2];
threadgroup vec<InT, 2> x_pairs[T::M * T::STRIDE / 2];
threadgroup float factors[T::FACTORS];
threadgroup uint list[2 * T::M];
const uint rows = gguf::elements(indices_shape, indices_ndim);
gguf::gather_qmm<Format>(x, gguf::Experts(weight, weight_shape), indices, out, w_pairs, x_pairs,
                         factors, list, rows, rows / gguf::leading_rows(x_shape, x_ndim),
                         threadgroup_position_in_grid, thread_index_in_threadgroup,
                         simdgroup_index_in_threadgroup, thread_index_in_simdgroup);
