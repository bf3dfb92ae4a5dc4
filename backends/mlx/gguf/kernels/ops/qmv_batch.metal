threadgroup float partial[SIMDGROUPS * TILES * X_TILES * 64];
const gguf::Weight matrix = {weight, (uint)weight_shape[0], (uint)weight_shape[1]};
const gguf::Thread place = {threadgroup_position_in_grid, thread_index_in_threadgroup,
                            simdgroup_index_in_threadgroup, thread_index_in_simdgroup};
gguf::qmv_batch<Format, TILES, X_TILES, SIMDGROUPS>(x, matrix, GGUF_BIAS, out, partial,
                                                    gguf::leading_rows(x_shape, x_ndim), place);
