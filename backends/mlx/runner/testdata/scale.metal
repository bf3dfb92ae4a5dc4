uint i = thread_position_in_grid.x;
out[i] = OutT(float(x[i]) * FACTOR + table[i % table_shape[0]]);
