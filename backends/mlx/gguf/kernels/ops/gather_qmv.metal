threadgroup float partial[SPLIT_K ? SIMDGROUPS * ROWS : 1];
const uint rows = gguf::elements(indices_shape, indices_ndim);
const gguf::Thread place = {threadgroup_position_in_grid, thread_index_in_threadgroup,
                            simdgroup_index_in_threadgroup, thread_index_in_simdgroup};
gguf::gather_qmv<Format, ROWS, SIMDGROUPS, SPLIT_K>(
    x, gguf::Experts(weight, weight_shape),
    gguf::indices_of(indices, rows, rows / gguf::leading_rows(x_shape, x_ndim)), out, partial,
    place);
