const gguf::Weight matrix = {weight, (uint)weight_shape[0], (uint)weight_shape[1]};
gguf::qmv_plain<Format>(x, matrix, GGUF_BIAS, out, thread_position_in_grid);
