uint i = thread_position_in_grid.x;
threadgroup const float* p = x;
out[i] = p[i];
