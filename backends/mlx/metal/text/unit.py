"""A compilation unit: one kernel for given dtypes, as the text MLX generates for it.

`Unit.text` is byte for byte what `mx.fast.metal_kernel(...)(verbose=True)` prints, which is what
MLX compiles on the device behind its prelude. The rules are MLX's own (0.32,
mlx/backend/common/metal_kernel.cpp); unit_test.py compares with the installed MLX.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

from backends.mlx.metal.text.flatten import flatten

# MLX dtype name -> Metal type.
METAL_TYPES = {
    "bool": "bool",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float16": "float16_t",
    "bfloat16": "bfloat16_t",
    "float32": "float",
    "complex64": "complex64_t",
}

# Metal's thread attributes that MLX offers, in the order it declares them.
ATTRIBUTES = {
    "dispatch_quadgroups_per_threadgroup": "uint",
    "dispatch_simdgroups_per_threadgroup": "uint",
    "dispatch_threads_per_threadgroup": "uint3",
    "grid_origin": "uint3",
    "grid_size": "uint3",
    "quadgroup_index_in_threadgroup": "uint",
    "quadgroups_per_threadgroup": "uint",
    "simdgroup_index_in_threadgroup": "uint",
    "simdgroups_per_threadgroup": "uint",
    "thread_execution_width": "uint",
    "thread_index_in_quadgroup": "uint",
    "thread_index_in_simdgroup": "uint",
    "thread_index_in_threadgroup": "uint",
    "thread_position_in_grid": "uint3",
    "thread_position_in_threadgroup": "uint3",
    "threadgroup_position_in_grid": "uint3",
    "threadgroups_per_grid": "uint3",
    "threads_per_grid": "uint3",
    "threads_per_simdgroup": "uint",
    "threads_per_threadgroup": "uint3",
}

# Inputs with fewer elements live in the constant address space.
CONSTANT_BELOW = 8

TemplateValue = int | bool | str


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One buffer of the generated signature.

    role: "input", "shape", "strides", "ndim" or "output"; name: of the input or output it
    belongs to; type: the C++ type without address space, such as "const bfloat16_t*".
    """

    role: str
    name: str
    type: str
    space: str


@dataclasses.dataclass(frozen=True)
class Unit:
    """A kernel with its dtypes.

    inputs: (name, dtype, shape) of each; outputs: (name, dtype); template: (name, value) where a
    value is an int (32 bits), a bool or a dtype name. Only the number of elements (8 or more?)
    and the rank (0?) of a shape matter. Raises ValueError for a dtype Metal has not.
    """

    name: str
    header: str
    source: str
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, str], ...]
    template: tuple[tuple[str, TemplateValue], ...] = ()
    atomic_outputs: bool = False

    def __post_init__(self):
        def freeze(field, value):
            return object.__setattr__(self, field, value)

        freeze("inputs", tuple((n, d, tuple(s)) for n, d, s in self.inputs))
        freeze("outputs", tuple((n, d) for n, d in self.outputs))
        freeze("template", tuple((n, v) for n, v in self.template))
        for name, dtype in [(n, d) for n, d, _ in self.inputs] + list(self.outputs):
            self._metal_type(name, dtype)
        for name, value in self.template:
            if isinstance(value, str):
                self._metal_type(name, value)
            elif not isinstance(value, (bool, int)):
                raise ValueError(
                    f"kernel {self.name}: template argument {name}: expected an int, a bool or a "
                    f"dtype, found {value!r}"
                )
            elif not -(2**31) <= value < 2**31:
                raise ValueError(
                    f"kernel {self.name}: template argument {name}: {value} is not a 32-bit int"
                )
        if not self.outputs:
            raise ValueError(f"kernel {self.name}: expected at least one output")

    def _metal_type(self, name: str, dtype: str) -> str:
        if dtype not in METAL_TYPES:
            raise ValueError(
                f"kernel {self.name}: {name}: unknown dtype {dtype!r}, expected one of "
                + ", ".join(METAL_TYPES)
            )
        return METAL_TYPES[dtype]

    @functools.cached_property
    def function(self) -> str:
        """The kernel function's name, unique to the dtypes and template arguments."""
        name = "custom_kernel_" + self.name
        if self.template:
            arguments = self._template_arguments()
            for separator in ("<", ">", ", ", "-"):
                arguments = arguments.replace(separator, "_")
            name += "_" + arguments[:-1]
        for _, dtype, shape in self.inputs:
            constant = "c" if math.prod(shape) < CONSTANT_BELOW else ""
            name += "_" + METAL_TYPES[dtype] + ("s" if len(shape) == 0 else constant)
        for _, dtype in self.outputs:
            name += "_" + METAL_TYPES[dtype]
        return name

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The buffers of the signature, in order."""
        found = []
        for name, dtype, shape in self.inputs:
            space = "constant" if math.prod(shape) < CONSTANT_BELOW else "device"
            reference = "*" if shape else "&"
            found.append(Parameter("input", name, f"const {METAL_TYPES[dtype]}{reference}", space))
            if not shape:
                continue
            for role, type_ in (("shape", "int*"), ("strides", "int64_t*"), ("ndim", "int&")):
                if f"{name}_{role}" in self.source:
                    found.append(Parameter(role, name, f"const {type_}", "constant"))
        for name, dtype in self.outputs:
            element = METAL_TYPES[dtype]
            element = f"atomic<{element}>" if self.atomic_outputs else element
            found.append(Parameter("output", name, f"{element}*", "device"))
        return tuple(found)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, then of the outputs."""
        return (*(name for name, _, _ in self.inputs), *(name for name, _ in self.outputs))

    @functools.cached_property
    def attributes(self) -> tuple[str, ...]:
        """The thread attributes whose names occur in the source, in the signature's order."""
        return tuple(name for name in ATTRIBUTES if name in self.source)

    @functools.cached_property
    def definition(self) -> str:
        """Header and kernel function: `text` without the explicit instantiation."""
        kinds = [_template_kind(v) + " " + n for n, v in self.template]
        text = self.header
        if kinds:
            text += "template <" + ", ".join(kinds) + ">\n"
        text += f"[[kernel]] void {self.function}(\n"
        attributes = self.attributes
        buffers = len(self.inputs) + len(self.outputs)
        for index, parameter in enumerate(self.parameters):
            declaration = _declare(parameter, index)
            if parameter.role != "output":
                text += declaration + ",\n"
            else:
                # MLX compares a count of buffers with one of arrays here: with shape, strides or
                # ndim, no attribute and two outputs, its text closes the list too early.
                more = index < buffers - 1 or attributes
                text += declaration + (",\n" if more else ") {\n")
        for name in attributes:
            last = name == attributes[-1]
            text += f"  {ATTRIBUTES[name]} {name} [[{name}]]" + (") {\n" if last else ",\n")
        return text + self.source + "\n}\n"

    @functools.cached_property
    def text(self) -> str:
        """The complete text MLX compiles, without its prelude."""
        if not self.template:
            return self.definition
        instance = self.instance
        return self.definition + (
            f'\ntemplate [[host_name("{self.function}")]] [[kernel]] '
            f"decltype({instance}) {instance};\n"
        )

    @functools.cached_property
    def instance(self) -> str:
        """The kernel function with its template arguments."""
        return self.function + (self._template_arguments() if self.template else "")

    @functools.cached_property
    def key(self) -> str:
        """Content hash of `text`: 32 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]

    def _template_arguments(self) -> str:
        def show(value: TemplateValue) -> str:
            return METAL_TYPES[value] if isinstance(value, str) else str(int(value))

        return "<" + ", ".join(show(v) for _, v in self.template) + ">"


def _template_kind(value: TemplateValue) -> str:
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "typename"


def _declare(parameter: Parameter, index: int) -> str:
    name = parameter.name
    if parameter.role in ("shape", "strides", "ndim"):
        name = f"{name}_{parameter.role}"
    if parameter.role == "output":
        return f"  device {parameter.type} {name} [[buffer({index})]]"
    type_ = parameter.type.replace("const ", f"const {parameter.space} ", 1)
    return f"  {type_} {name} [[buffer({index})]]"


def grouped(units: Sequence[Unit]) -> list[list[Unit]]:
    """`units` in groups that can be one text: one kernel with several dtypes.

    A compiler reads the header, which is most of the text, once a group.
    """
    groups: dict[tuple, list[Unit]] = {}
    named: collections.Counter = collections.Counter()
    for unit in units:
        # A macro would reach the next unit, and two functions of one name are one too many.
        alone = unit.key if "#define" in unit.source else named[unit.function]
        named[unit.function] += 1
        groups.setdefault((unit.header, unit.source, alone), []).append(unit)
    return list(groups.values())


def load_units(
    path: Path, root: Path | None = None, include_dirs: Sequence[Path] = ()
) -> list[Unit]:
    """Reads a units file.

    JSON: {"root": directory, "include_dirs": [...], "units": [{"name", "headers": [paths],
    "source": path, "inputs": [[name, dtype, shape]], "outputs": [[name, dtype]],
    "template": [[name, value]], "atomic_outputs": bool}]}. Paths are relative to `root`, else to
    the file's "root", else to the file's own directory.

    Raises:
        ValueError: the file or one of its units is wrong. Names the file and the unit.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        specs = data["units"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a units file: {error!r}") from error
    base = Path(root) if root is not None else path.parent / data.get("root", "")
    include = [base / p for p in data.get("include_dirs", [])] + [Path(p) for p in include_dirs]
    units = []
    for number, spec in enumerate(specs):
        name = spec.get("name", f"number {number}") if isinstance(spec, dict) else number
        try:
            units.append(
                Unit(
                    name=spec["name"],
                    header=flatten([base / p for p in spec.get("headers", [])], include),
                    source=(base / spec["source"]).read_text(encoding="utf-8"),
                    inputs=spec["inputs"],
                    outputs=spec["outputs"],
                    template=spec.get("template", ()),
                    atomic_outputs=spec.get("atomic_outputs", False),
                )
            )
        except KeyError as error:
            raise ValueError(f"{path}: unit {name}: no {error.args[0]!r}") from error
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: unit {name}: {error}") from error
    return units
