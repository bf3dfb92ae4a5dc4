"""Recognises the GGUF weights of a program: the dequantize nodes in front of an operator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from executorch.backends.mlx.builder.op_helpers import get_aten_target
from executorch.backends.mlx.builder.op_registry import REGISTRY
from torch.export import ExportedProgram
from torch.fx import Node

from backends.mlx.gguf import formats

OURS = "mlx_gguf::dequantize"
EXECUTORCH = "torchao::dequantize_gguf"
# ExecuTorch's own handlers of its operator. Two handlers may not claim one node.
_EXECUTORCH_PATTERN = "GGUF_QUANTIZED_LINEAR"


@dataclass(frozen=True)
class Weight:
    """A dequantize node read as a weight of shape (rows, columns).

    node: the dequantize node; blocks: its input, uint8 (rows, bytes per row).
    """

    node: Node
    blocks: Node
    fmt: formats.BlockFormat

    @property
    def rows(self) -> int:
        return self.blocks.meta["val"].shape[0]

    @property
    def columns(self) -> int:
        return self.fmt.columns(self.blocks.meta["val"].shape[1])


def operator_name(node: object) -> str | None:
    """"namespace::name" of the operator that `node` calls, None for anything else."""
    if not isinstance(node, Node) or node.op != "call_function":
        return None
    target = get_aten_target(node.target)
    return target.name() if isinstance(target, torch._ops.OpOverload) else None


def is_dequantize(node: object) -> bool:
    """Whether `node` decodes GGUF blocks, by our operator or by ExecuTorch's."""
    return operator_name(node) in (OURS, EXECUTORCH)


def find(node: object) -> Weight | None:
    """Returns the weight that `node` decodes, None if these handlers have none to lower.

    ExecuTorch's operator is left to ExecuTorch's handlers where those are registered.
    """
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
    if len(shape) != 2 or not static or shape[1] % fmt.block_bytes:
        return None
    return Weight(node, blocks, fmt)


def tensor_name(program: ExportedProgram, blocks: Node) -> str:
    """The name that the user gave the tensor behind the placeholder `blocks`.

    torch.export stores the inner tensor of a subclass as `MODULE.parametrizations.NAME.original0`.
    """
    name = blocks.name
    for spec in program.graph_signature.input_specs:
        if spec.arg.name == blocks.name and spec.target is not None:
            name = spec.target
    return name.replace("parametrizations.", "").removesuffix(".original0")
