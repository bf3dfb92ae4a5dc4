"""GGUF weights on Apple GPUs through ExecuTorch's MLX backend.

The names below are imported when first used: reading `formats` must not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backends.mlx.gguf.lowering import (
        AffineDtype,
        GGUFTensor,
        LoweringError,
        Mode,
        export_module,
        use_mode,
    )

__all__ = ["AffineDtype", "GGUFTensor", "LoweringError", "Mode", "export_module", "use_mode"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("backends.mlx.gguf.lowering"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
