    threadgroup float w_tile[gguf::MatMat::N * gguf::MatMat::STRIDE];
    threadgroup float x_tile[gguf::MatMat::M * gguf::MatMat::STRIDE];
    gguf::qmm<Format>(
        x, weight, GGUF_BIAS, out, w_tile, x_tile, (uint)weight_shape[0], (uint)weight_shape[1],
        gguf::leading_rows(x_shape, x_ndim), threadgroup_position_in_grid,
        thread_index_in_threadgroup, simdgroup_index_in_threadgroup, thread_index_in_simdgroup);
