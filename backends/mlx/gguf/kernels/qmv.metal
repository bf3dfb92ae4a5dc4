    threadgroup float partial[SPLIT_K ? SIMDGROUPS * ROWS : 1];
    gguf::qmv<Format, ROWS, SIMDGROUPS, SPLIT_K>(
        x, weight, GGUF_BIAS, out, partial, (uint)weight_shape[0], (uint)weight_shape[1],
        threadgroup_position_in_grid, simdgroup_index_in_threadgroup, thread_index_in_simdgroup);
