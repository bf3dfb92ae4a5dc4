"""GGUF weights on Apple GPUs through ExecuTorch's MLX backend.

The names below are imported when first used: reading `formats` must not import torch.
"""

from importlib import import_module

_LOWERING = (
    "AffineDtype",
    "GGUFTensor",
    "LoweringError",
    "Mode",
    "export_module",
    "use_mode",
)

__all__ = list(_LOWERING)


def __getattr__(name: str):
    if name in _LOWERING:
        return getattr(import_module("backends.mlx.gguf.lowering"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
