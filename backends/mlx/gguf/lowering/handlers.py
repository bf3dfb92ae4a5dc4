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

from backends.mlx.gguf.lowering.emit import fused, operands, repack
from backends.mlx.gguf.lowering.emit.state import DelegateState
from backends.mlx.gguf.lowering.match import experts, weights
from backends.mlx.gguf.lowering.match.weights import Weight
from backends.mlx.gguf.lowering.mode import Mode
from backends.mlx.gguf.lowering.tensor import FLOAT_DTYPES


class GGUFHandler(PatternHandler):
    """Lowers an operator with `dequantize(blocks)`, or views of it, as an operand.

    A dequantize node may have several readers. It is claimed only if each of them is lowered with
    it, and belongs to the body of the first: ExecuTorch counts the reads of a body's inputs once
    for each handler that has it.
    """

    def __init__(self, head: Node, weight: Weight):
        first = next(weights.readers(weight.node))
        super().__init__(head, [*weight.views, *([weight.node] if head is first else [])])
        self.weight = weight

    @classmethod
    def maybe_create(cls, ep: ExportedProgram, head: Node) -> GGUFHandler | None:
        weight = cls.match(head)
        if weight is None:
            return None
        readers = list(weights.readers(weight.node))
        # One that has the weight twice has it as x too.
        if len(set(readers)) < len(readers) or not all(_lowers(r, weight) for r in readers):
            return None
        return cls(head, weight)

    @classmethod
    def match(cls, head: Node) -> Weight | None:
        """The weight of `head` if this handler can lower it, from shapes and dtypes alone."""
        raise NotImplementedError

    def supported(self, P: MLXProgramBuilder, n: Node) -> bool:
        """True: what cannot be lowered gets no handler."""
        return True


class GGUFMatrixHandler(GGUFHandler):
    """Lowers `target(..., dequantize(blocks), ...)`."""

    target: torch._ops.OpOverload
    weight_index: int

    @classmethod
    def match(cls, head: Node) -> Weight | None:
        if not match_target(head, cls.target) or len(head.args) <= cls.weight_index:
            return None
        node = head.args[cls.weight_index]
        weight = weights.find(node)
        if weight is None or weight.experts is not None:
            return None
        if sum(arg is node for arg in head.args) != 1:
            return None
        return weight if cls.lowers(head) else None

    @classmethod
    def lowers(cls, head: Node) -> bool:
        """Whether the other operands of `head` have types that the kernels take."""
        raise NotImplementedError


class GGUFLinearHandler(GGUFMatrixHandler):
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


class GGUFEmbeddingHandler(GGUFMatrixHandler):
    """`aten.embedding(dequantize(blocks), indices)`."""

    target = torch.ops.aten.embedding.default
    weight_index = 0

    @classmethod
    def lowers(cls, head: Node) -> bool:
        return _dtype(head) in FLOAT_DTYPES and _dtype(head.args[1]) in weights.INDEX_DTYPES

    def __call__(self, P: MLXProgramBuilder, n: Node) -> Slot:
        found = operands.of_embedding(P, n, self.weight)
        return _emit(P, found, fused.emit_embedding, repack.emit_embedding)


class GGUFExpertsHandler(GGUFHandler):
    """Rows times the matrices of their experts, see `experts.find`."""

    @classmethod
    def match(cls, head: Node) -> Weight | None:
        product = experts.find(head)
        if product is None or not {_dtype(product.x), _dtype(head)} <= set(FLOAT_DTYPES):
            return None
        return product.weight

    def __call__(self, P: MLXProgramBuilder, n: Node) -> Slot:
        product = experts.find(n)
        assert product is not None, f"{n}: no product any more"
        found = operands.of_experts(P, n, product)
        return _emit(P, found, fused.emit_experts, repack.emit_experts)


HANDLERS = (GGUFLinearHandler, GGUFEmbeddingHandler, GGUFExpertsHandler)


def register() -> None:
    """Registers the handlers with ExecuTorch's MLX backend; a second call changes nothing."""
    for handler in HANDLERS:
        name = f"MLX_{handler.__name__}"
        if name not in REGISTRY.patterns():
            REGISTRY.register_pattern(name)(handler)


def _lowers(reader: Node, weight: Weight) -> bool:
    """Whether a handler takes `reader` with the decoded blocks of `weight` as its weight."""
    matches = (handler.match(reader) for handler in HANDLERS)
    return any(found is not None and found.node is weight.node for found in matches)


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
        emit_repacked(P, found, repacked)
    return found.out
