"""GGUF weights in ExecuTorch's MLX backend, from a torch module to nodes of MLX.

A linear's way: its weight, a `GGUFTensor`, makes it `mlx_gguf::dequantize` and a plain linear
(`tensor`); `export` traces that and gives it to ExecuTorch's partitioner, which asks `handlers`.
They recognise the two nodes from shapes and dtypes alone (`match`: `weights`, `experts`) and claim
them. When the delegate is built, they read its tensors (`emit`: `operands`, `rows` and what one
delegate shares, `state`) and write kernels that read the blocks (`fused`), or, in repack mode,
MLX's own operations (`repack`) on converted weights (`quantized`). `mode` says which.
"""

from backends.mlx import overlay

overlay.ensure()

from backends.mlx.gguf.lowering.export import (  # noqa: E402
    LoweringError,
    check_delegated,
    export_module,
)
from backends.mlx.gguf.lowering.mode import (  # noqa: E402
    AffineDtype,
    Mode,
    Settings,
    resolve,
    use_mode,
)
from backends.mlx.gguf.lowering.tensor import GGUFTensor, dequantize  # noqa: E402

__all__ = [
    "AffineDtype",
    "GGUFTensor",
    "LoweringError",
    "Mode",
    "Settings",
    "check_delegated",
    "dequantize",
    "export_module",
    "resolve",
    "use_mode",
]
