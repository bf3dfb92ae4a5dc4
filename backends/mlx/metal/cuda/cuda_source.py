"""Turns Metal text into CUDA: lexical rewrites, and a wrapper that is the CUDA kernel.

The rewrites: `threadgroup T name[N];` becomes `__shared__`; functions are marked `__device__`;
clang's unroll pragma takes nvcc's spelling; attributes such as [[buffer(0)]] and the words for
address spaces go (as an empty macro, `device` would empty `__device__` too). Everything else
compiles as it stands behind msl_cuda.h, with nvcc -std=c++17 --expt-relaxed-constexpr and
-arch=sm_80 or later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from backends.mlx.metal.cuda.functions import mark_functions
from backends.mlx.metal.text.host_source import rewrite_threadgroup_declarations
from backends.mlx.metal.text.unit import ATTRIBUTES, Parameter, Unit

_HERE = Path(__file__).parent
# In this order, for nvcc -I.
INCLUDE_DIRS = (_HERE, _HERE.parent / "host", _HERE.parent / "host" / "include")

_WORD = re.compile(r"\b(?:device|constant|threadgroup|thread|kernel)\b ?")
_ATTRIBUTE = re.compile(r"\[\[\s*\w+\s*(?:\([^()]*\))?\s*\]\]")

# Thread attributes in CUDA's words. Grids must be whole threadgroups.
_ATTRIBUTES = {
    "grid_origin": "metal::vec<uint, 3>(0u)",
    "quadgroup_index_in_threadgroup": "msl::thread_index() / 4u",
    "simdgroup_index_in_threadgroup": "msl::thread_index() / 32u",
    "thread_execution_width": "32u",
    "thread_index_in_quadgroup": "msl::thread_index() % 4u",
    "thread_index_in_simdgroup": "msl::thread_index() % 32u",
    "thread_index_in_threadgroup": "msl::thread_index()",
    "thread_position_in_grid": "msl::position(blockIdx) * msl::position(blockDim)"
    " + msl::position(threadIdx)",
    "thread_position_in_threadgroup": "msl::position(threadIdx)",
    "threadgroup_position_in_grid": "msl::position(blockIdx)",
    "threadgroups_per_grid": "msl::position(gridDim)",
    "threads_per_grid": "msl::position(gridDim) * msl::position(blockDim)",
    "threads_per_simdgroup": "32u",
    "threads_per_threadgroup": "msl::position(blockDim)",
}


def rewrite(text: str, scope: str) -> str:
    """Metal `text` as CUDA, in a namespace `scope` inside `metal`.

    Inside, because there Metal's functions hide CUDA's global ones of the same name.
    """
    text = rewrite_threadgroup_declarations(text, form="cuda")
    for how, cuda in (("full", "unroll"), ("disable", "unroll 1")):
        text = text.replace(f"clang loop unroll({how})", cuda)
    text = _WORD.sub("", mark_functions(_ATTRIBUTE.sub("", text)))
    # A text that opens `namespace metal` itself adds to the one in here.
    inner = "namespace metal { using namespace ::metal; }"
    # Unnamed: objects that are linked together may hold different texts.
    return f"namespace metal {{ namespace {scope} {{ namespace {{ {inner}\n{text}\n}} }} }}\n"


def cuda_source(units: Sequence[Unit]) -> str:
    """A CUDA source with a kernel `entry_symbol(unit)` for each of `units`.

    The units must be instances of one text, which differ in template arguments only. A kernel's
    parameters are Unit.parameters in order: pointers for arrays, and msl::by_value<int> or
    <int64_t> (8 values, first ones used) for shapes, strides, ndim and rank-0 inputs.

    Raises:
        ValueError: the units are not instances of one text.
    """
    first, scope = units[0], "text"
    if any(
        (u.header, u.source, u.parameters) != (first.header, first.source, first.parameters)
        for u in units
    ):
        raise ValueError(f"kernel {first.name}: expected instances of one text")
    pieces = ['#include "msl_cuda.h"\n', rewrite(first.definition, scope)]
    for unit in units:
        pieces.append(_wrapper(unit, first, f"metal::{scope}"))
    return "\n".join(pieces)


def entry_symbol(unit: Unit) -> str:
    """The name of a unit's CUDA kernel."""
    return "msl_cuda_" + unit.key


def _wrapper(unit: Unit, definition: Unit, scope: str) -> str:
    # `definition` names the template; its name says the first unit's arguments.
    instance = unit.instance.replace(unit.function, definition.function, 1)
    parameters = ",\n    ".join(map(_parameter, unit.parameters))
    arguments = [_argument(p) for p in unit.parameters] + [_attribute(a) for a in unit.attributes]
    return (
        f'extern "C" __global__ void {entry_symbol(unit)}(\n    {parameters}) {{\n'
        f"  {scope}::{instance}(\n      " + ",\n      ".join(arguments) + ");\n}\n"
    )


def _name(parameter: Parameter) -> str:
    suffix = "" if parameter.role in ("input", "output") else "_" + parameter.role
    return parameter.name + suffix + "_"


def _by_value(parameter: Parameter) -> bool:
    return parameter.role not in ("input", "output") or parameter.type.endswith("&")


def _parameter(parameter: Parameter) -> str:
    if not _by_value(parameter):
        return f"{parameter.type} {_name(parameter)}"
    element = parameter.type.replace("const ", "").rstrip("*&")
    return f"const __grid_constant__ msl::by_value<{element}> {_name(parameter)}"


def _argument(parameter: Parameter) -> str:
    if not _by_value(parameter):
        return _name(parameter)
    return _name(parameter) + (".values[0]" if parameter.type.endswith("&") else ".values")


def _attribute(name: str) -> str:
    if name not in _ATTRIBUTES:
        raise ValueError(f"thread attribute {name} has no CUDA form (of {', '.join(ATTRIBUTES)})")
    return _ATTRIBUTES[name]
