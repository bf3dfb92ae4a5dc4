"""Runs a method of a `.pte` with `mlx.core`: inputs in, delegates in turn, outputs out."""

from __future__ import annotations

import math
from pathlib import Path

import mlx.core as mx

from backends.mlx.common.dtypes import dtype_name
from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.program.graph import TENSOR_SLOT
from backends.mlx.program.method import literal
from backends.mlx.program.program import Program
from backends.mlx.runner import rehearsal
from backends.mlx.runner.convert import to_int, to_mx
from backends.mlx.runner.interpreter import Interpreter


class Runner:
    """A loaded method. Mutable buffers (caches) keep their contents from call to call.

    Calling it takes the method's inputs in order (mx.array, numpy, torch or, where the program
    takes one, int) and returns its outputs: mx.arrays of the program's dtypes, and ints.

    Attributes:
      program: what it was loaded from. method: the method's name.
    """

    def __init__(self, program: Program | str | Path, method: str = "forward"):
        """Loads `method` of a `Program`, or of the file at a path.

        Raises ProgramError where the file is bad, lacks the method, or holds work that is not
        MLX's or a node that the runner does not support.
        """
        self.program = program if isinstance(program, Program) else Program(program)
        self.method = method
        try:
            self._load(method)
        except ProgramError as error:
            raise error.at(self.program.path) from None

    def reset(self) -> None:
        """Zeroes the mutable buffers, as if the method had just been loaded."""
        for interpreter in self._interpreters:
            interpreter.reset()

    def prepare(self) -> int:
        """Compiles the custom kernels of every branch of the method; returns how many it has.

        Without it a kernel is compiled when a call first reaches it. What any process has compiled
        before is found in the cache of `backends.mlx.metal`, whose logger tells of every kernel
        that is compiled (INFO). On a Mac MLX compiles kernels itself: nothing is done, 0 returned.

        Raises ProgramError where the method cannot run on zeros, and the compiler's CompileError.
        """
        if mx.metal.is_available():
            return 0
        # Imported here: programs without custom kernels need no Metal runtime.
        from backends.mlx import metal

        try:
            units = [unit for each in self._interpreters for unit in rehearsal.units(each)]
        except ProgramError as error:
            raise error.at(self.program.path) from error
        metal.prepare(units)
        return len({unit.key for unit in units})

    def __call__(self, *inputs) -> list:
        """Runs the method. Raises ProgramError for inputs that do not fit, and for failing nodes.

        Errors of custom kernels (the checker's, the compiler's) pass through.
        """
        try:
            return self._run(inputs)
        except ProgramError as error:
            raise error.at(self.program.path) from error

    def _load(self, method: str) -> None:
        if method not in self.program.methods:
            raise ProgramError("method", f"one of {sorted(self.program.methods)}", repr(method))
        loaded = self.program.methods[method]
        self._plan = loaded.plan
        self._calls = _delegate_calls(loaded)
        self._interpreters = [Interpreter(self.program, graph) for graph in loaded.graphs]

    def _run(self, inputs: tuple) -> list:
        if len(inputs) != len(self._plan.inputs):
            raise ProgramError("inputs", len(self._plan.inputs), len(inputs))
        values = dict(zip(self._plan.inputs, inputs, strict=True))
        for position, (index, value) in enumerate(values.items()):
            self._check_literal(position, index, value)
        for delegate, arguments in self._calls:
            interpreter = self._interpreters[delegate]
            record = interpreter.graph.record
            split = len(record.input_map)
            taken = [
                self._input(interpreter.graph, position, slot, self._value(values, index))
                for position, (slot, index) in enumerate(
                    zip(record.input_map, arguments[:split], strict=True)
                )
            ]
            results = interpreter(taken)
            for position, (slot, index, result) in enumerate(
                zip(record.output_map, arguments[split:], results, strict=True)
            ):
                if slot.slot_type == TENSOR_SLOT:
                    result = self._output(interpreter.graph.meta(slot.idx), position, index, result)
                values[index] = result
        outputs = [self._value(values, index) for index in self._plan.outputs]
        mx.eval([output for output in outputs if isinstance(output, mx.array)])
        return outputs

    def _value(self, values: dict, index: int):
        """What the plan's value `index` holds: an input, a delegate's output, or a literal."""
        if index in values:
            return values[index]
        record = self._plan.values[index].val
        value = literal(record)
        if value is None:
            raise ProgramError(f"value {index}", "an input or output of a delegate", record)
        return value

    def _check_literal(self, position: int, index: int, value) -> None:
        """Raises ProgramError for another number than the one that the program was made with.

        ExecuTorch refuses it: a method's inputs that are no tensors are a part of the program.
        """
        expected = literal(self._plan.values[index].val)
        what = f"input {position}"
        if isinstance(expected, int):
            value = to_int(value, what)
        if expected is not None and not _is_same(value, expected):
            raise ProgramError(what, expected, value)

    def _input(self, graph, position: int, slot, value) -> mx.array | int:
        what = f"input {position}"
        if slot.slot_type != TENSOR_SLOT:
            return to_int(value, what)
        array = to_mx(value, what)
        meta = graph.meta(slot.idx)
        if meta is not None:
            expected = scalar_type(meta.scalar_type, what)
            if array.dtype != expected.mlx:
                raise ProgramError(f"{what} dtype", expected.name, dtype_name(array.dtype))
            _check_shape(meta, what, array.shape)
        return array

    def _output(self, meta, position: int, index: int, result: mx.array) -> mx.array:
        what = f"output {position}"
        if meta is not None:
            _check_shape(meta, what, result.shape)
        # ExecuTorch casts to the dtype of the method's own tensor; so does this.
        tensor = self._plan.values[index].val
        return result.astype(scalar_type(tensor.scalar_type, f"{what} dtype").mlx)


def _is_same(value, expected) -> bool:
    """Whether an input is the program's own, as ExecuTorch's `Method::set_input` compares them."""
    if not isinstance(expected, float):
        return value == expected
    if not isinstance(value, (int, float)):
        return False
    if math.isfinite(value) and math.isfinite(expected):
        return abs(value - expected) <= 1e-4 + 1e-5 * abs(expected)
    return value == expected or (math.isnan(value) and math.isnan(expected))


def _delegate_calls(method) -> list[tuple[int, tuple[int, ...]]]:
    """The plan's calls as (delegate, value indices), checked to be all that the plan does."""
    plan = method.plan
    calls = []
    for chain in plan.chains:
        for position, instruction in enumerate(chain.instructions):
            call = instruction.instr_args
            what = f"method {method.name!r} instruction {position}"
            kind = type(call).__name__
            if kind == "KernelCall" and 0 <= call.op_index < len(plan.operators):
                operator = plan.operators[call.op_index]
                found = f"{operator.name}.{operator.overload}"
                raise ProgramError(what, "a call of the MLX delegate", found)
            if kind != "DelegateCall":
                raise ProgramError(what, "a call of the MLX delegate", kind)
            if not 0 <= call.delegate_index < len(method.graphs):
                raise ProgramError(
                    f"{what} delegate", f"an index below {len(method.graphs)}", call.delegate_index
                )
            record = method.graphs[call.delegate_index].record
            expected = len(record.input_map) + len(record.output_map)
            if len(call.args) != expected:
                raise ProgramError(f"{what} arguments", expected, len(call.args))
            _check_values(plan, what, call.args)
            outputs = zip(record.output_map, call.args[len(record.input_map) :], strict=True)
            for slot, index in outputs:
                found = type(plan.values[index].val).__name__
                if slot.slot_type == TENSOR_SLOT and found != "Tensor":
                    raise ProgramError(f"{what} output", "a Tensor", found)
            calls.append((call.delegate_index, call.args))
    _check_values(plan, f"method {method.name!r}", (*plan.inputs, *plan.outputs))
    return calls


def _check_values(plan, what: str, indices) -> None:
    for index in indices:
        if not 0 <= index < len(plan.values):
            raise ProgramError(f"{what} value", f"an index below {len(plan.values)}", index)


def _check_shape(meta, what: str, shape: tuple[int, ...]) -> None:
    if len(shape) != len(meta.shape) or not all(map(_fits, meta.shape, shape)):
        expected = f"[{', '.join(map(_describe, meta.shape))}]"
        raise ProgramError(f"{what} shape", expected, list(shape))


def _fits(dim, size: int) -> bool:
    if dim.value >= 0:
        return size == dim.value
    return _lower_bound(dim) <= size and (dim.max_value == -1 or size <= dim.max_value)


def _lower_bound(dim) -> int:
    # torch.export records a lower bound of 2 where the user allowed 1 or 0 (it assumes that a
    # dynamic size is neither), so 2 says nothing.
    return 0 if dim.min_value <= 2 else dim.min_value


def _describe(dim) -> str:
    if dim.value >= 0:
        return str(dim.value)
    return f"{_lower_bound(dim)}..{'' if dim.max_value == -1 else dim.max_value}"
