"""Recognises products of rows with the matrices of their experts.

`out[r] = x[r // repeat] @ weight[indices[r]].T`, for R indices and R / repeat rows of x, as
ExecuTorch's `mlx.gather_mm` computes it and as `transformers` writes it with an index and a
`bmm` (`batched_mm_experts_forward` in its integrations/moe.py). An index below 0 gives zeros in a
fused kernel, though to torch's own index it counts from the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from executorch.backends.mlx.pattern_utils import match_target
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import statically_known_true

from backends.mlx.gguf.lowering.match import weights
from backends.mlx.gguf.lowering.match.weights import Weight

aten = torch.ops.aten


@dataclass(frozen=True)
class Product:
    """The operands of such a product.

    x: (..., 1, K), or (R, K, 1) if `is_column`; the output then is (R, N, 1), else (..., 1, N).
    indices: int32 or int64, of any shape but a scalar.
    """

    weight: Weight
    x: Node
    indices: Node
    is_column: bool = False


def find(head: Node) -> Product | None:
    """Returns the product that `head` computes, from shapes and dtypes alone, or None."""
    if match_target(head, torch.ops.mlx.gather_mm.default):
        return _of_gather_mm(head)
    if any(match_target(head, op) for op in (aten.bmm.default, aten.matmul.default)):
        return _of_bmm(head)
    return None


def _of_gather_mm(head: Node) -> Product | None:
    """`gather_mm(x, transposed weight, rhs_indices, sorted_indices=any)`.

    Whether the indices are sorted changes no result.
    """
    x, matrices, indices, lhs_indices, _ = _arguments(head)
    weight = weights.find(matrices)
    if weight is None or not weight.transposed or weight.indices is not None:
        return None
    if lhs_indices is not None or indices is None:
        return None
    values, ids = x.meta["val"], indices.meta["val"]
    if values.dim() < 2 or ids.dim() < 1 or ids.dtype not in weights.INDEX_DTYPES:
        return None
    if not _equal(values.shape[-2:], [1, weight.columns]):
        return None
    if not _repeats(values.shape[:-2], ids.shape):
        return None
    return Product(weight, x, indices)


def _of_bmm(head: Node) -> Product | None:
    """`bmm(weight[ids], columns)` or `bmm(rows, transposed weight[ids])`."""
    left, right = head.args
    for matrices, x, is_column in ((left, right, True), (right, left, False)):
        weight = weights.find(matrices)
        if weight is None or weight.indices is None or weight.transposed == is_column:
            continue
        shape = list(x.meta["val"].shape)
        if is_column and len(shape) == 3:
            shape[1:] = reversed(shape[1:])
        if _equal(shape, [*weight.indices.meta["val"].shape, 1, weight.columns]):
            return Product(weight, x, weight.indices, is_column)
    return None


def _repeats(rows: torch.Size, indices: torch.Size) -> bool:
    """Whether rows of shape `rows`, broadcast to `indices`, are each repeated in place.

    They are if `rows` has the sizes of `indices` and from some dimension on 1.
    """
    missing = len(indices) - len(rows)
    if missing < 0:
        return False
    padded = [1] * missing + list(rows)
    while padded and isinstance(padded[-1], int) and padded[-1] == 1:
        padded.pop()
    return _equal(padded, indices[: len(padded)])


def _equal(found: Sequence[int | torch.SymInt], expected: Sequence[int | torch.SymInt]) -> bool:
    """Whether two shapes are the same whatever their dynamic sizes are."""
    return len(found) == len(expected) and all(
        statically_known_true(a == b) for a, b in zip(found, expected, strict=True)
    )


def _arguments(node: Node) -> list:
    """The arguments of `node` in the order of its schema, None for those that are not given."""
    names = [argument.name for argument in node.target._schema.arguments]
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    return [given.get(name) for name in names]
