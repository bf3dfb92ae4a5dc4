"""Runs the chains of one checked MLX graph: slots, constants, and dispatch to the node functions.

Semantics follow ExecuTorch's `MLXExecutor`: values are 32-bit ints, literals clamp to 32 bits,
mutable buffers start as zeros and live from call to call, the init chain runs once and may
replace constants, temporaries last for one call.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from math import prod

import mlx.core as mx
import numpy as np

from backends.mlx.program import verify
from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.program.graph import SCHEMA, TENSOR_SLOT, Graph, Tid, Vid, operand
from backends.mlx.program.program import Constant, Program
from backends.mlx.runner import nodes

# What MLX raises on operands that it refuses.
_MLX_ERRORS = (ValueError, IndexError, OverflowError, RuntimeError)
# A kernel's own errors (the checker's, the compiler's) must reach the caller as they are.
_RUN_OTHER_CODE = frozenset({"MetalKernelNode", "IfNode", "ScanNode"})

_IntOrVid = SCHEMA.tables["IntOrVid"].record
_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1

# MLX ends the process where it gets no memory, so what cannot be had is refused before.
MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Interpreter:
    """Executes one delegate's graph. Node functions use it to read and write slots.

    Attributes:
      cache: what node functions keep from call to call that depends on constants' values, e.g.
        dequantized constants.
      prepared: what they keep of a node whatever the values, by the node's id.
      rehearsal: a list to which kernels are added instead of being run; None in a real run.
    """

    def __init__(self, program: Program, graph: Graph):
        """Binds constants and runs the init chain.

        Raises ProgramError for a node without a function, or a failing init chain.
        """
        self.graph = graph
        self.cache: dict = {}
        self.prepared: dict[int, object] = {}
        self.rehearsal: list | None = None
        self._constants: dict[int, Constant] = {
            slot: program.constant(graph.constant_name(slot)) for slot in graph.constants
        }
        # Constants as MLX arrays, made on first use; the init chain writes here too.
        self._loaded: dict[int, mx.array] = {}
        self._tensors: dict[int, mx.array] = {}
        self._values: dict[int, int] = {}
        self._chains = _functions(graph)
        self.reset()

    def reset(self) -> None:
        """Zeroes the mutable buffers and runs the init chain, as loading does."""
        self._mutable = {
            slot.idx: _zeros(self.graph.meta(slot.idx))
            for slot in self.graph.record.mutable_buffer_map
        }
        _check_memory("mutable buffers", sum(map(_bytes, self._mutable.values())))
        self._loaded.clear()
        self.cache.clear()
        if self.graph.record.init_chain_idx >= 0:
            self.run_chain(self.graph.record.init_chain_idx)
            mx.eval(list(self._loaded.values()), list(self._mutable.values()))
        self._tensors, self._values = {}, {}

    def __call__(self, inputs: list) -> list:
        """Runs the main chain on `inputs` (mx.array or int, in input map order)."""
        self._tensors, self._values = {}, {}
        try:
            for slot, value in zip(self.graph.record.input_map, inputs, strict=True):
                if slot.slot_type == TENSOR_SLOT:
                    self._tensors[slot.idx] = value
                else:
                    self._values[slot.idx] = value
            self.run_chain(self.graph.record.main_chain_idx)
            outputs = [
                self.tensor(slot) if slot.slot_type == TENSOR_SLOT else self._values[slot.idx]
                for slot in self.graph.record.output_map
            ]
            arrays = [output for output in outputs if isinstance(output, mx.array)]
            mx.eval(arrays, list(self._mutable.values()))
            return outputs
        finally:
            self._tensors, self._values = {}, {}

    @contextlib.contextmanager
    def rehearsing(self) -> Iterator[list]:
        """Calls inside run no kernel, change no buffer, and take both branches of every IfNode.

        Yields the list that kernels are added to.
        """
        mutable = dict(self._mutable)
        self.rehearsal = []
        try:
            yield self.rehearsal
        finally:
            self._mutable = mutable
            self.rehearsal = None

    def run_chain(self, chain: int) -> None:
        """Runs one instruction chain."""
        position = 0
        try:
            for position, (function, node) in enumerate(self._chains[chain]):  # noqa: B007
                function(self, node)
        except ProgramError as error:
            raise error.inside(self.graph.describe(chain, position)) from error
        except _MLX_ERRORS as error:
            if type(self.graph.chains[chain][position]).__name__ in _RUN_OTHER_CODE:
                raise
            where = self.graph.describe(chain, position)
            raise ProgramError(where, "operands that MLX accepts", error) from error

    def tensor(self, slot) -> mx.array:
        """The array in tensor slot `slot` (a Tid)."""
        index = slot.idx
        if index in self._tensors:
            return self._tensors[index]
        if index in self._mutable:
            return self._mutable[index]
        if index not in self._loaded:
            self._loaded[index] = _load(self._constants[index])
        return self._loaded[index]

    def optional_tensor(self, slot) -> mx.array | None:
        """The array in `slot`, None for an absent operand."""
        return None if slot is None else self.tensor(slot)

    def kernel_operand(self, slot) -> mx.array | np.ndarray:
        """Like `tensor`, but a constant of a type that numpy has stays a view of the file."""
        constant = self._constants.get(slot.idx)
        if constant is None or slot.idx in self._loaded or constant.type.name == "bfloat16":
            return self.tensor(slot)
        return constant.view

    def is_fixed(self, slot) -> bool:
        """Whether `slot` holds the same array in every call."""
        return slot.idx in self._constants

    def set(self, slot, array: mx.array) -> None:
        """Writes tensor slot `slot`. The verifier has seen that constants stay as they are.

        Raises ProgramError for an array larger than the machine's memory; nothing has made it yet.
        """
        _check_memory("result", _bytes(array))
        if slot.idx in self._constants:
            self._loaded[slot.idx] = array
            self.cache.clear()
        elif slot.idx in self._mutable:
            self._mutable[slot.idx] = array
        else:
            self._tensors[slot.idx] = array

    def set_int(self, slot, value: int) -> None:
        """Writes value slot `slot`. Raises ProgramError beyond 32 bits."""
        if not _INT32_MIN <= value <= _INT32_MAX:
            raise ProgramError("result", "a 32-bit int", value)
        self._values[slot.idx] = value

    def integer(self, value) -> int:
        """An int operand: a literal (clamped to 32 bits) or a value slot."""
        # Far the most frequent operand; the verifier has seen that the slot is there.
        if type(value) is _IntOrVid:
            chosen = value.vid if value.is_vid else value.literal
        else:
            chosen = operand(value)
        if isinstance(chosen, Vid):
            return self._values[chosen.idx]
        return max(_INT32_MIN, min(_INT32_MAX, chosen))

    def integers(self, values) -> list[int]:
        """Several int operands."""
        return [self.integer(value) for value in values]

    def number(self, value) -> float:
        """A float operand: a literal or a value slot."""
        chosen = operand(value)
        return float(self._values[chosen.idx] if isinstance(chosen, Vid) else chosen)

    def int_or_tensor(self, value) -> int | mx.array:
        """A VidOrTid or IntOrVidOrTid operand."""
        chosen = operand(value)
        return self.tensor(chosen) if isinstance(chosen, Tid) else self.integer(chosen)


def _functions(graph: Graph) -> list[list[tuple]]:
    """Each chain as (function, node) pairs. Raises ProgramError for a node without a function."""
    chains = []
    for chain, chain_nodes in enumerate(graph.chains):
        chains.append([])
        for position, node in enumerate(chain_nodes):
            kind = type(node).__name__
            if kind not in nodes.FUNCTIONS:
                where = graph.describe(chain, position)
                raise ProgramError(where, "a node that the runner supports", kind)
            chains[-1].append((nodes.FUNCTIONS[kind], node))
    return chains


def _zeros(meta) -> mx.array:
    shape = verify.static_shape(meta, "mutable buffer")
    return mx.zeros(shape, scalar_type(meta.scalar_type, "mutable buffer").mlx)


def _bytes(array: mx.array) -> int:
    # MLX's own nbytes overflows.
    return prod(array.shape) * array.itemsize


def _check_memory(what: str, size: int) -> None:
    if size > MEMORY_BYTES:
        raise ProgramError(f"{what} bytes", f"at most this machine's {MEMORY_BYTES}", size)


def _load(constant: Constant) -> mx.array:
    array = mx.array(constant.view)
    return array.view(mx.bfloat16) if constant.type.name == "bfloat16" else array
