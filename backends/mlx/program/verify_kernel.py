"""Checks a MetalKernelNode: what ExecuTorch's runtime checks at its call, and what it does not.

The rules that need a dtype or a size apply where the program states it: to constants, inputs,
outputs and literals before anything runs. For all else the runner applies `check_launch` and
`check_operand_dtypes` at the call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from backends.mlx.overlay.schemas import TEMPLATE_BOOL, TEMPLATE_DTYPE, TEMPLATE_INT
from backends.mlx.program.dtypes import ScalarType, scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.program.graph import Graph, Vid, operand

MAX_THREADS = 1024
_INT32 = range(-(2**31), 2**31)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


def check_kernel(graph: Graph, node) -> None:
    """Checks `node` as far as the program itself tells. Raises ProgramError."""
    what = f"kernel {node.name!r}"
    try:
        _check_parallel_lists(node)
        _check_names(node)
        _check_template(node)
        sizes = [[_literal(value) for value in dims] for dims in (node.grid, node.threadgroup)]
        check_launch(*sizes)
        inputs = [_meta_dtype(graph, slot.idx) for slot in node.inputs]
        check_operand_dtypes(node, inputs)
        for slot, shape in zip(node.outputs, output_shapes(node), strict=True):
            _check_output_shape(graph.meta(slot.idx), [_literal(dim) for dim in shape])
    except ProgramError as error:
        raise error.inside(what) from None


def check_launch(grid, threadgroup) -> None:
    """Checks grid and threadgroup sizes (in threads); None stands for a size not yet known."""
    for what, sizes in (("grid", grid), ("threadgroup", threadgroup)):
        if len(sizes) != 3:
            raise ProgramError(what, "3 sizes", len(sizes))
        if any(size is not None and size <= 0 for size in sizes):
            raise ProgramError(what, "sizes above 0", list(sizes))
    threads = prod(size for size in threadgroup if size is not None)
    if threads > MAX_THREADS:
        raise ProgramError("threadgroup", f"at most {MAX_THREADS} threads", list(threadgroup))


def check_operand_dtypes(node, inputs: list[ScalarType | None]) -> None:
    """Checks the type names that kernels use for their operands; None: not yet known.

    MLX declares each operand with its actual dtype, so a kernel that casts to a template type
    reads garbage where the two differ. The convention, also ExecuTorch's own kernels': a dtype
    argument `InT` is the first input's dtype, `OutT` the first output's.
    """
    outputs = [scalar_type(code, "output dtype") for code in node.output_dtypes]
    arguments = template_arguments(node)
    for name, operands, names in (
        ("InT", inputs, node.input_names),
        ("OutT", outputs, node.output_names),
    ):
        template = arguments.get(name)
        if isinstance(template, ScalarType) and operands[0] not in (None, template):
            raise ProgramError(
                f"template argument {name}",
                f"the dtype of {names[0]!r} ({operands[0].name})",
                template.name,
            )


def template_arguments(node) -> dict[str, int | bool | ScalarType]:
    """The template arguments by name, in order."""
    values: dict[str, int | bool | ScalarType] = {}
    for name, kind, value in _template_entries(node):
        if kind == TEMPLATE_INT:
            values[name] = value
        elif kind == TEMPLATE_BOOL:
            values[name] = bool(value)
        else:
            values[name] = scalar_type(value, f"template argument {name}")
    return values


def _template_entries(node) -> Iterator[tuple[str, int, int]]:
    """Each template argument as the node has it: name, kind, value."""
    return zip(
        node.template_arg_names, node.template_arg_kinds, node.template_arg_values, strict=True
    )


def output_shapes(node) -> list[tuple]:
    """The outputs' shapes as IntOrVid records, cut from the flat list."""
    shapes, start = [], 0
    for length in node.output_shape_lengths:
        shapes.append(node.output_shapes_flat[start : start + length])
        start += length
    return shapes


def _check_parallel_lists(node) -> None:
    for what in ("inputs", "outputs"):
        if not getattr(node, what):
            raise ProgramError(what, "at least one", "none")
    inputs, outputs = len(node.inputs), len(node.outputs)
    names = len(node.template_arg_names)
    for what, expected in (
        ("input_names", inputs),
        ("output_names", outputs),
        ("output_shape_lengths", outputs),
        ("output_dtypes", outputs),
        ("template_arg_kinds", names),
        ("template_arg_values", names),
    ):
        if len(getattr(node, what)) != expected:
            raise ProgramError(what, f"{expected} entries", len(getattr(node, what)))
    if any(length < 0 for length in node.output_shape_lengths):
        raise ProgramError("output_shape_lengths", "0 or more", list(node.output_shape_lengths))
    total = sum(node.output_shape_lengths)
    if len(node.output_shapes_flat) != total:
        raise ProgramError("output_shapes_flat", f"{total} entries", len(node.output_shapes_flat))


def _check_names(node) -> None:
    names = (*node.input_names, *node.output_names, *node.template_arg_names)
    for name in (node.name, *names):
        if not _IDENTIFIER.fullmatch(name):
            raise ProgramError("name", "a C identifier", repr(name))
    for name in names:
        if names.count(name) > 1:
            raise ProgramError("names", "each once", f"{name!r} {names.count(name)} times")


def _check_template(node) -> None:
    for name, kind, value in _template_entries(node):
        what = f"template argument {name}"
        if kind not in (TEMPLATE_INT, TEMPLATE_BOOL, TEMPLATE_DTYPE):
            raise ProgramError(f"{what} kind", "0 (int), 1 (bool) or 2 (dtype)", kind)
        if kind == TEMPLATE_BOOL and value not in (0, 1):
            raise ProgramError(what, "0 or 1", value)
    template_arguments(node)


def _literal(value) -> int | None:
    chosen = operand(value)
    if isinstance(chosen, Vid):
        return None
    if chosen not in _INT32:
        raise ProgramError("size", "a 32-bit int", chosen)
    return chosen


def _meta_dtype(graph: Graph, index: int) -> ScalarType | None:
    meta = graph.meta(index)
    return None if meta is None else scalar_type(meta.scalar_type, f"tensor {index} dtype")


def _check_output_shape(meta, shape: list[int | None]) -> None:
    if any(dim is not None and dim < 0 for dim in shape):
        raise ProgramError("output shape", "dimensions of 0 or more", shape)
    if meta is None:
        return
    expected = [dim.value for dim in meta.shape]
    fits = len(shape) == len(expected) and all(
        want == -1 or have is None or want == have
        for want, have in zip(expected, shape, strict=True)
    )
    if not fits:
        raise ProgramError("output shape", f"{expected} of the program's output", shape)
