"""Which of MLX's quantizations repacking makes of each type."""

from __future__ import annotations

from typing import NamedTuple

from backends.mlx.gguf.formats.affine import MLX_GROUPS, affine_view
from backends.mlx.gguf.formats.block_format import BlockFormat
from backends.mlx.gguf.formats.float_view import float_view
from backends.mlx.gguf.formats.mlx_view import AFFINE, FLOAT_MODES

# In the order in which repacking tries them: a float mode takes fewer bits than the affine form of
# the same weights, and rounds no scale to the type of the activations.
VIEWS = (float_view, affine_view)


class Form(NamedTuple):
    """What repacking makes of a type.

    group: weights that share a scale, at least: affine groups are wider where neighbours agree.
    certain: every tensor with scales that MLX has gets this form; else only those whose
    neighbouring groups agree.
    """

    mode: str
    bits: int
    group: int
    certain: bool


def form(fmt: BlockFormat) -> Form:
    """What repacking makes of tensors of `fmt`."""
    if fmt.mlx_mode is not None:
        mode = FLOAT_MODES[fmt.mlx_mode]
        return Form(fmt.mlx_mode, mode.bits, mode.group, certain=True)
    narrowest = min(MLX_GROUPS)
    return Form(AFFINE, fmt.affine.bits, max(fmt.group, narrowest), fmt.group >= narrowest)
