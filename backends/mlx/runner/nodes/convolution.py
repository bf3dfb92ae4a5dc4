"""Convolutions, with MLX's layouts: x (N, ..., C), weight (O, ..., C / groups)."""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.nodes.registry import node

_AXES = {1: ("",), 2: ("_h", "_w"), 3: ("_d", "_h", "_w")}
_CONVOLUTIONS = {1: mx.conv1d, 2: mx.conv2d, 3: mx.conv3d}
_TRANSPOSED = {1: mx.conv_transpose1d, 2: mx.conv_transpose2d, 3: mx.conv_transpose3d}


def _sizes(n, field: str, rank: int):
    """The node's per-axis fields, as MLX takes them: an int for one axis, else a tuple."""
    sizes = tuple(getattr(n, field + suffix) for suffix in _AXES[rank])
    return sizes[0] if rank == 1 else sizes


def _register(name: str, function, rank: int, fields: tuple[str, ...]):
    @node(name)
    def convolve(run, n):
        if n.groups < 1:
            # MLX divides by it.
            raise ProgramError("groups", "1 or more", n.groups)
        sizes = {field: _sizes(n, field, rank) for field in fields}
        run.set(n.out, function(run.tensor(n.x), run.tensor(n.w), groups=n.groups, **sizes))


_FIELDS = ("stride", "padding", "dilation")
for _rank in _AXES:
    _register(f"Conv{_rank}DNode", _CONVOLUTIONS[_rank], _rank, _FIELDS)
    _register(f"ConvTranspose{_rank}DNode", _TRANSPOSED[_rank], _rank, (*_FIELDS, "output_padding"))
