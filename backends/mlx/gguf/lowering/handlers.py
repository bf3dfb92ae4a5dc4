"""Pattern handlers that make ExecuTorch's `MLXPartitioner` lower GGUF weights.

Each claims an operator (the head) and the dequantize node in front of it. All that decides
whether it can lower them is read from shapes and dtypes when it is created, so that the
partitioner's support check and the build always agree.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from executorch.backends.mlx.builder.op_registry import REGISTRY, PatternHandler
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.pattern_utils import match_target
from torch.export import ExportedProgram
from torch.fx import Node

from backends.mlx.gguf.lowering import fused, operands, repack, weights
from backends.mlx.gguf.lowering.mode import Mode
from backends.mlx.gguf.lowering.ops import FLOAT_DTYPES
from backends.mlx.gguf.lowering.state import DelegateState
from backends.mlx.gguf.lowering.weights import Weight


class GGUFHandler(PatternHandler):
    """Lowers `target(..., dequantize(blocks), ...)`.

    A dequantize node may have several users. It is claimed only if each of them is lowered with
    it, and belongs to the body of the first: ExecuTorch counts the reads of a body's inputs once
    for each handler that has it.
    """

    target: torch._ops.OpOverload
    weight_index: int

    def __init__(self, head: Node, weight: Weight):
        first_user = next(iter(weight.node.users))
        super().__init__(head, [weight.node] if head is first_user else [])
        self.weight = weight

    @classmethod
    def maybe_create(cls, ep: ExportedProgram, head: Node) -> GGUFHandler | None:
        weight = cls.match(head)
        if weight is None:
            return None
        if not all(any(h.match(user) for h in HANDLERS) for user in weight.node.users):
            return None
        return cls(head, weight)

    @classmethod
    def match(cls, head: Node) -> Weight | None:
        """The weight of `head` if this handler can lower it, from shapes and dtypes alone."""
        if not match_target(head, cls.target) or len(head.args) <= cls.weight_index:
            return None
        node = head.args[cls.weight_index]
        weight = weights.find(node)
        if weight is None or sum(arg is node for arg in head.args) != 1:
            return None
        return weight if cls.lowers(head) else None

    @classmethod
    def lowers(cls, head: Node) -> bool:
        """Whether the other operands of `head` have types that the kernels take."""
        raise NotImplementedError

    def supported(self, P: MLXProgramBuilder, n: Node) -> bool:
        """True: what cannot be lowered gets no handler."""
        return True


class GGUFLinearHandler(GGUFHandler):
    """`aten.linear(x, dequantize(blocks), bias)`."""

    target = torch.ops.aten.linear.default
    weight_index = 1

    @classmethod
    def lowers(cls, head: Node) -> bool:
        tensors = [arg for arg in (head.args[0], *head.args[2:]) if arg is not None]
        return all(_dtype(tensor) in FLOAT_DTYPES for tensor in (*tensors, head))

    def __call__(self, P: MLXProgramBuilder, n: Node) -> Slot:
        found = operands.of_linear(P, n, self.weight)
        return _emit(P, found, fused.emit_linear, repack.emit_linear)


class GGUFEmbeddingHandler(GGUFHandler):
    """`aten.embedding(dequantize(blocks), indices)`."""

    target = torch.ops.aten.embedding.default
    weight_index = 0

    @classmethod
    def lowers(cls, head: Node) -> bool:
        return _dtype(head) in FLOAT_DTYPES and _dtype(head.args[1]) in (torch.int32, torch.int64)

    def __call__(self, P: MLXProgramBuilder, n: Node) -> Slot:
        found = operands.of_embedding(P, n, self.weight)
        return _emit(P, found, fused.emit_embedding, repack.emit_embedding)


HANDLERS = (GGUFLinearHandler, GGUFEmbeddingHandler)


def register() -> None:
    """Registers the handlers with ExecuTorch's MLX backend; a second call changes nothing."""
    for handler in HANDLERS:
        name = f"MLX_{handler.__name__}"
        if name not in REGISTRY.patterns():
            REGISTRY.register_pattern(name)(handler)


def _dtype(node: Node) -> torch.dtype:
    return node.meta["val"].dtype


def _emit(
    P: MLXProgramBuilder,
    found: operands.Operands,
    emit_fused: Callable[..., None],
    emit_repacked: Callable[..., None],
) -> Slot:
    """Emits `found` in the mode of the delegate that `P` builds."""
    state = DelegateState.of(P)
    repacked = None
    if state.settings.mode is Mode.REPACK:
        repacked = state.repacked(P, found.weight)
    if repacked is None:
        emit_fused(P, found)
    else:
        emit_repacked(P, found, *repacked, state.settings.affine_dtype)
    return found.out
