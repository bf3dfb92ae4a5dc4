"""Import this module and ExecuTorch's `MLXPartitioner` lowers GGUF weights with our kernels.

It registers the handlers of `lowering/handlers.py` with the MLX backend, for the weights of
`GGUFTensor` and `mlx_gguf::dequantize`, and for ExecuTorch's `torchao::dequantize_gguf` unless
ExecuTorch's own handlers of it are registered too.
"""

from backends.mlx.gguf.lowering import handlers

handlers.register()
