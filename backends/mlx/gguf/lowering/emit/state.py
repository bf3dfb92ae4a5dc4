"""What the handlers share while one delegate is built.

ExecuTorch builds each delegate with an `MLXProgramBuilder` of its own and gives it to every
handler; that object is all a handler sees of the export it belongs to. The state hangs on it, so
that the settings are read once, and a weight with several uses is repacked once.
"""

from __future__ import annotations

import hashlib
import logging
from typing import NamedTuple
from weakref import WeakKeyDictionary

from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from torch.fx import Node

from backends.mlx.gguf.lowering import mode
from backends.mlx.gguf.lowering.emit import quantized
from backends.mlx.gguf.lowering.emit.rows import Sizes
from backends.mlx.gguf.lowering.match.weights import Weight, tensor_name

logger = logging.getLogger("mlx_gguf.lowering")


class Repacked(NamedTuple):
    """A repacked weight, and the name under which its constants are stored."""

    name: str
    weight: quantized.QuantizedWeight


class DelegateState:
    """The settings of one delegate, and its repacked weights."""

    @staticmethod
    def of(P: MLXProgramBuilder) -> DelegateState:
        """The state of the delegate that `P` builds, made by the first call."""
        state = _states.get(P)
        if state is None:
            state = _states[P] = DelegateState(P)
        return state

    def __init__(self, P: MLXProgramBuilder):
        self.settings = mode.current()
        self.sizes = Sizes(P)
        self._placeholders: dict[str, Node] = {}
        self._by_target: dict[str, Repacked | None] = {}
        # torch.export may copy a tensor that has two names: told by its bytes, it is one again.
        self._by_digest: dict[bytes, Repacked | None] = {}

    def placeholder(self, P: MLXProgramBuilder, weight: Weight) -> Node:
        """The placeholder of the blocks: the same node for every use of one constant.

        ExecuTorch copies the placeholder, not the constant, of a weight that goes to several
        delegates, and the builder binds data to only one of the copies.
        """
        target = constant_name(P, weight)
        return self._placeholders.setdefault(target or weight.blocks.name, weight.blocks)

    def repacked(self, P: MLXProgramBuilder, weight: Weight) -> Repacked | None:
        """Returns `weight` in one of MLX's quantizations, and releases its blocks.

        None, with one line in the log, where it has none: the weight must then be fused.
        """
        target = constant_name(P, weight)
        if target is None:
            _log_fused(P, weight, "its blocks are an input of the program, not a constant")
            return None
        if target not in self._by_target:
            self._by_target[target] = self._repack(P, weight)
            if self._by_target[target] is not None:
                P.release_placeholder_tensor(weight.blocks)
        return self._by_target[target]

    def _repack(self, P: MLXProgramBuilder, weight: Weight) -> Repacked | None:
        name, tensor = P.get_placeholder_target_and_tensor(weight.blocks)
        blocks = tensor.detach().cpu().contiguous().numpy()
        digest = hashlib.sha256(f"{weight.fmt.name} {blocks.shape}".encode())
        digest.update(blocks)
        key = digest.digest()
        if key not in self._by_digest:
            found = quantized.repack(weight.fmt, blocks)
            self._by_digest[key] = None if found is None else Repacked(name, found)
        if self._by_digest[key] is None:
            _log_fused(P, weight, "MLX has no exact form for its groups")
        return self._by_digest[key]


_states: WeakKeyDictionary[MLXProgramBuilder, DelegateState] = WeakKeyDictionary()


def constant_name(P: MLXProgramBuilder, weight: Weight) -> str | None:
    """The name of the constant that holds the blocks; None if they come at run time."""
    try:
        return P.get_placeholder_target(weight.blocks)
    except KeyError:
        return None


def _log_fused(P: MLXProgramBuilder, weight: Weight, reason: str) -> None:
    name = tensor_name(P.ep, weight.blocks)
    logger.warning("%s: %s stays fused in repack mode: %s", name, weight.fmt.name, reason)
