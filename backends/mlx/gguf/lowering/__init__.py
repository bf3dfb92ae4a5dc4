"""GGUF weights in ExecuTorch's MLX backend: the weight tensor, the operator, the handlers."""

from backends.mlx.overlay import mlx_overlay

mlx_overlay.ensure()

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
from backends.mlx.gguf.lowering.ops import dequantize  # noqa: E402
from backends.mlx.gguf.lowering.tensor import GGUFTensor  # noqa: E402

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
