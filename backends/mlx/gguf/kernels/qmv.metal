    gguf::qmv<Format, ROWS, SIMDGROUPS>(
        x, weight, GGUF_BIAS, out, (uint)weight_shape[0], (uint)weight_shape[1],
        threadgroup_position_in_grid, simdgroup_index_in_threadgroup, thread_index_in_simdgroup);
