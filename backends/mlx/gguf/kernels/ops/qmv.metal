threadgroup float partial[SPLIT_K ? SIMDGROUPS * ROWS * X_ROWS : 1];
const gguf::Weight matrix = {weight, (uint)weight_shape[0], (uint)weight_shape[1]};
const gguf::Thread place = {threadgroup_position_in_grid, thread_index_in_threadgroup,
                            simdgroup_index_in_threadgroup, thread_index_in_simdgroup};
const uint first = place.group.y * X_ROWS;
gguf::qmv<Format, ROWS, X_ROWS, SIMDGROUPS, SPLIT_K>(
    x + (ulong)first * gguf::columns_of<Format>(matrix), matrix, GGUF_BIAS,
    out + (ulong)first * matrix.n_rows, partial,
    min(gguf::leading_rows(x_shape, x_ndim) - first, (uint)X_ROWS), place);
