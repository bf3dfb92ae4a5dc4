"""Recognises the GGUF weights of a program: the dequantize nodes in front of an operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from executorch.backends.mlx.builder.op_helpers import get_aten_target
from executorch.backends.mlx.builder.op_registry import REGISTRY
from executorch.backends.mlx.pattern_utils import match_target
from torch.export import ExportedProgram
from torch.fx import Node

from backends.mlx.common.dtypes import INDICES
from backends.mlx.gguf import formats
from backends.mlx.gguf.lowering.tensor import GGUFTensor

OURS = "mlx_gguf::dequantize"
EXECUTORCH = "torchao::dequantize_gguf"
# ExecuTorch's own handlers of its operator. Two handlers may not claim one node.
_EXECUTORCH_PATTERN = "GGUF_QUANTIZED_LINEAR"

INDEX_DTYPES = tuple(getattr(torch, name) for name in INDICES)


@dataclass(frozen=True)
class Weight:
    """An operand that is `dequantize(blocks)`, or views of it if it has the weights of experts.

    node: the dequantize node; blocks: its input, uint8 (rows, bytes per row) or
    (experts, rows, bytes per row).
    views: the nodes between it and the operand.
    transposed: whether they leave the operand as (..., columns, rows).
    indices: 1-D integers that take their place of the experts, None if there are none.
    """

    node: Node
    blocks: Node
    fmt: formats.BlockFormat
    views: tuple[Node, ...] = ()
    transposed: bool = False
    indices: Node | None = None

    @property
    def experts(self) -> int | None:
        """How many matrices there are, None for a weight that is one matrix."""
        shape = self.blocks.meta["val"].shape
        return shape[0] if len(shape) == 3 else None

    @property
    def rows(self) -> int:
        return self.blocks.meta["val"].shape[-2]

    @property
    def columns(self) -> int:
        return self.fmt.columns(self.blocks.meta["val"].shape[-1])


def operator_name(node: object) -> str | None:
    """The name, "namespace::name", of the operator that `node` calls, None for anything else."""
    if not isinstance(node, Node) or node.op != "call_function":
        return None
    target = get_aten_target(node.target)
    return target.name() if isinstance(target, torch._ops.OpOverload) else None


def is_dequantize(node: object) -> bool:
    """Whether `node` decodes GGUF blocks, by our operator or by ExecuTorch's."""
    return operator_name(node) in (OURS, EXECUTORCH)


def is_decoded(node: Node) -> bool:
    """Whether `node` is a dequantize node, or a view of one or of a `GGUFTensor`."""
    if _is_view(node):
        source = node.args[0]
        return is_decoded(source) or isinstance(source.meta["val"], GGUFTensor)
    return is_dequantize(node)


def find(node: Any) -> Weight | None:
    """Returns the weight that the operand `node` holds, None if these handlers cannot lower it.

    A view must have no other user: ExecuTorch would count the reads of its indices once.
    ExecuTorch's operator is left to ExecuTorch's handlers where those are registered.
    """
    views: list[Node] = []
    transposed, indices = False, None
    while _is_view(node):
        if _is_transposition(node):
            transposed = not transposed
        elif indices is None:
            (indices,) = node.args[1]
        else:
            return None
        if len(node.users) != 1:
            return None
        views.append(node)
        node = node.args[0]
    if not is_dequantize(node):
        return None
    if operator_name(node) == EXECUTORCH and _EXECUTORCH_PATTERN in REGISTRY.patterns():
        return None
    blocks, ggml_type = node.args[:2]
    if blocks.op != "placeholder" or ggml_type.upper() not in formats.FORMATS:
        return None
    shape = blocks.meta["val"].shape
    fmt = formats.get(ggml_type)
    static = all(isinstance(size, int) and size > 0 for size in shape)
    if len(shape) not in (2, 3) or not static or shape[-1] % fmt.block_bytes:
        return None
    return Weight(node, blocks, fmt, tuple(views), transposed, indices)


def readers(node: Node) -> Iterator[Node]:
    """The operators that take the dequantize node `node`, as it is or through views.

    A view with several users counts as a reader, one that no handler lowers.
    """
    for user in node.users:
        while _is_view(user) and len(user.users) == 1:
            (user,) = user.users
        yield user


def tensor_name(program: ExportedProgram, blocks: Node) -> str:
    """The name that the user gave the tensor behind the placeholder `blocks`.

    torch.export stores the inner tensor of a subclass as `MODULE.parametrizations.NAME.original0`.
    """
    name = blocks.name
    for spec in program.graph_signature.input_specs:
        if spec.arg.name == blocks.name and spec.target is not None:
            name = spec.target
    return name.replace("parametrizations.", "").removesuffix(".original0")


def _is_view(node: object) -> bool:
    """Whether `node` takes a tensor (experts, rows, columns) and picks or turns its matrices."""
    if not isinstance(node, Node) or node.op != "call_function":
        return False
    return _is_transposition(node) or _is_selection(node)


def _is_transposition(node: Node) -> bool:
    if not _takes_matrices(node):
        return False
    if match_target(node, torch.ops.aten.transpose.int):
        return sorted(dim % 3 for dim in node.args[1:3]) == [1, 2]
    if match_target(node, torch.ops.aten.permute.default):
        return [dim % 3 for dim in node.args[1]] == [0, 2, 1]
    return False


def _is_selection(node: Node) -> bool:
    if not match_target(node, torch.ops.aten.index.Tensor) or not _takes_matrices(node):
        return False
    indices = node.args[1]
    if len(indices) != 1 or not isinstance(indices[0], Node):
        return False
    value = indices[0].meta["val"]
    return value.dim() == 1 and value.dtype in INDEX_DTYPES


def _takes_matrices(node: Node) -> bool:
    if not node.args or not isinstance(node.args[0], Node):
        return False
    value = node.args[0].meta.get("val")
    return isinstance(value, torch.Tensor) and value.dim() == 3
