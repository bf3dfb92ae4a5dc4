    typedef gguf::MatMat<Format, InT> T;
    threadgroup InT w_tile[T::N * T::STRIDE];
    threadgroup InT x_tile[T::M * T::STRIDE];
    threadgroup float factors[T::FACTORS];
    gguf::qmm<Format>(
        x, weight, GGUF_BIAS, out, w_tile, x_tile, factors, (uint)weight_shape[0],
        (uint)weight_shape[1], gguf::leading_rows(x_shape, x_ndim), threadgroup_position_in_grid,
        thread_index_in_threadgroup, simdgroup_index_in_threadgroup, thread_index_in_simdgroup);
