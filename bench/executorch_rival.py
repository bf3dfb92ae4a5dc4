"""ExecuTorch's own fused kernels, read at run time from the installed package."""

from __future__ import annotations

import contextlib
import importlib
import os
from types import SimpleNamespace

import torch

from backends.mlx import metal, overlay
from bench.launch import Case, Launch, from_unit, gguf_unit

overlay.ensure()

# GGUF type -> the module that lowers its linears, under this package.
_PACKAGE = "executorch.backends.mlx.custom_kernel_ops.gguf"
_MODULES = {"Q4_K": "q4k.linear", "Q5_K": "q5k.linear", "Q6_K": "q6k.linear"}
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class _Recorder:
    """Stands in for ExecuTorch's program builder and keeps the kernels that are emitted.

    With static shapes the lowering of a linear asks for no more than this; its arithmetic on
    sizes is done at once.
    """

    def __init__(self):
        self.kernels = []
        self._numbers: list[int] = []

    def make_tmp_value_slot(self):
        self._numbers.append(0)
        return None, len(self._numbers) - 1

    def slot_to_vid(self, slot):
        return slot

    def number(self, entry) -> int:
        return self._numbers[entry.vid] if entry.is_vid else entry.literal

    def slot_map(self, nodes):
        return [node and node.name for node in nodes]

    def make_or_get_slot(self, node):
        return node.name

    def slot_to_tid(self, slot):
        return slot

    def emit(self, node):
        kind = type(node).__name__
        if kind == "MultiplyIntNode":
            self._numbers[node.out] = self.number(node.a) * self.number(node.b)
        elif kind == "MetalKernelNode":
            self.kernels.append(node)
        else:
            raise RuntimeError(f"ExecuTorch's lowering emitted an unexpected {kind}")


@contextlib.contextmanager
def _fused():
    name = "ET_MLX_EMIT_DIRECT_GGUF"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def has(type_name: str) -> bool:
    """Whether ExecuTorch has kernels for the type."""
    return type_name in _MODULES


def launches(case: Case) -> list[Launch]:
    """What ExecuTorch would launch for `case`: one kernel, or none for a type it has not."""
    emitted = _lower(case)
    if emitted is None:
        return []
    node, number = emitted
    # MLX shrinks a threadgroup to its grid.
    grid = tuple(map(number, node.grid))
    threadgroup = tuple(map(min, map(number, node.threadgroup), grid))
    return [from_unit("executorch", case, _unit(case, node), grid, threadgroup)]


def unit(case: Case) -> metal.Unit | None:
    """The kernel as a unit, or None for a type that ExecuTorch has not."""
    emitted = _lower(case)
    return emitted and _unit(case, emitted[0])


def _lower(case: Case):
    """The MetalKernelNode for `case`, and what turns its sizes into numbers."""
    if not has(case.type_name):
        return None
    module = importlib.import_module(f"{_PACKAGE}.{_MODULES[case.type_name]}")
    dtype = _DTYPES[case.dtype]

    def tensor(name, dtype, *shape):
        return SimpleNamespace(
            name=name, meta={"val": torch.empty(shape, dtype=dtype, device="meta")}
        )

    recorder = _Recorder()
    with _fused():
        module.emit_linear(
            recorder,
            tensor("out", dtype, case.rows, case.outputs),
            tensor("x", dtype, case.rows, case.columns),
            tensor("weight", torch.uint8, case.outputs, case.fmt.row_bytes(case.columns)),
            None,
        )
    (node,) = recorder.kernels
    return node, recorder.number


def _unit(case: Case, node) -> metal.Unit:
    from executorch.backends.mlx.builder.op_helpers import torch_dtype_to_scalar_type

    names = {torch_dtype_to_scalar_type(dtype): name for name, dtype in _DTYPES.items()}
    values = {0: int, 1: bool, 2: names.get}  # by the kind of template argument
    template = [
        (name, values[kind](value))
        for name, kind, value in zip(
            node.template_arg_names, node.template_arg_kinds, node.template_arg_values, strict=False
        )
    ]
    return gguf_unit(case, node.name, node.header or "", node.source, node.input_names, template)
