// out[r] = sum of x[r, :]; x (rows, columns) T, out (rows,) T. A threadgroup sums one row.
const uint row = threadgroup_position_in_grid.x;
const uint columns = x_shape[1];
threadgroup float partial[32];
float sum = 0.0f;
for (uint i = thread_index_in_threadgroup; i < columns; i += threads_per_threadgroup.x)
    sum += float(x[row * columns + i]);
sum = simd_sum(sum);
if (thread_index_in_simdgroup == 0) partial[simdgroup_index_in_threadgroup] = sum;
threadgroup_barrier(mem_flags::mem_threadgroup);
if (thread_index_in_threadgroup == 0) {
    float total = 0.0f;
    for (uint s = 0; s < simdgroups_per_threadgroup; ++s) total += partial[s];
    out[row] = T(total);
}
