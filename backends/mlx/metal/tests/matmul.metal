// out = a @ b; a (M, K) T, b (K, N) T, out (M, N) float. Two simdgroups compute a 16x16 tile.
constexpr int TILE = 16;
threadgroup T a_tile[TILE * TILE];
threadgroup T b_tile[TILE * TILE];
threadgroup float out_tile[TILE * TILE];
const uint M = a_shape[0], K = a_shape[1], N = b_shape[1];
const uint row = threadgroup_position_in_grid.y * TILE;
const uint column = threadgroup_position_in_grid.x * TILE;
const uint thread_index = thread_index_in_threadgroup;
const uint half_tile = simdgroup_index_in_threadgroup * 8;
simdgroup_float8x8 left(0.0f), right(0.0f);
for (uint k = 0; k < K; k += TILE) {
    load_tile<T, TILE>(a_tile, a, row, k, M, K, thread_index, 64);
    load_tile<T, TILE>(b_tile, b, k, column, K, N, thread_index, 64);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int kk = 0; kk < TILE; kk += 8) {
        simdgroup_matrix<T, 8, 8> a_part, b_left, b_right;
        simdgroup_load(a_part, a_tile + half_tile * TILE + kk, TILE);
        simdgroup_load(b_left, b_tile + kk * TILE, TILE);
        simdgroup_load(b_right, b_tile + kk * TILE + 8, TILE);
        simdgroup_multiply_accumulate(left, a_part, b_left, left);
        simdgroup_multiply_accumulate(right, a_part, b_right, right);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
}
simdgroup_store(left, out_tile + half_tile * TILE, TILE);
simdgroup_store(right, out_tile + half_tile * TILE + 8, TILE);
threadgroup_barrier(mem_flags::mem_threadgroup);
for (uint i = thread_index; i < TILE * TILE; i += 64) {
    const uint r = row + i / TILE, c = column + i % TILE;
    if (r < M && c < N) out[r * N + c] = out_tile[i];
}
