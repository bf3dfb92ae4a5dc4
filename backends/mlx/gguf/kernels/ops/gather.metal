gguf::gather<Format>(weight, indices, out, (uint)weight_shape[0], (uint)weight_shape[1],
                     thread_position_in_grid);
