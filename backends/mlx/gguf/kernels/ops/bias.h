// For the kernels of a linear with a bias: the body's `bias` input.
#define GGUF_BIAS bias
