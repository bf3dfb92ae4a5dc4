"""Makes ExecuTorch's MLX backend importable from its Linux wheel.

    from backends.mlx import overlay

    overlay.ensure()
    from executorch.backends.mlx import MLXPartitioner

Wheels that have the whole backend (macOS, arm64) are left alone. Works with ExecuTorch 1.4 and 1.5.
`schemas` finds the FlatBuffers schemas in the wheel and needs no `ensure()`.
"""

from backends.mlx.overlay.generated import OverlayError, ensure

__all__ = ["OverlayError", "ensure"]
