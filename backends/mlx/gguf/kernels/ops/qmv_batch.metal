threadgroup float partial[SIMDGROUPS * TILES * X_TILES * 64];
gguf::qmv_batch<Format, TILES, X_TILES, SIMDGROUPS>(x, weight, GGUF_BIAS, out, partial,
                                                    (uint)weight_shape[0], (uint)weight_shape[1],
                                                    gguf::leading_rows(x_shape, x_ndim),
                                                    threadgroup_position_in_grid,
                                                    simdgroup_index_in_threadgroup,
                                                    thread_index_in_simdgroup);
