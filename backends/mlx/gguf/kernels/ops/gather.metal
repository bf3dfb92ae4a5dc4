const gguf::Weight table = {weight, (uint)weight_shape[0], (uint)weight_shape[1]};
gguf::gather<Format, SHARE>(table, indices, out, thread_position_in_grid);
