threadgroup float partial[SPLIT_K ? SIMDGROUPS * ROWS * X_ROWS : 1];
const uint n_rows = (uint)weight_shape[0], row_bytes = (uint)weight_shape[1];
const uint row = threadgroup_position_in_grid.y * X_ROWS;
gguf::qmv<Format, ROWS, X_ROWS, SIMDGROUPS, SPLIT_K>(
    x + (ulong)row * (row_bytes / Format::BYTES * Format::WEIGHTS), weight, GGUF_BIAS,
    out + (ulong)row * n_rows, partial, n_rows, row_bytes,
    min(gguf::leading_rows(x_shape, x_ndim) - row, (uint)X_ROWS), threadgroup_position_in_grid,
    simdgroup_index_in_threadgroup, thread_index_in_simdgroup);
