// For the kernels of a linear without bias.
#define GGUF_BIAS gguf::NoBias()
