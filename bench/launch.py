"""One kernel launch to measure: its CUDA source, its arguments, its grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.metal.cuda import cuda_source, entry_symbol


@dataclass(frozen=True)
class Case:
    """One row of the table: `rows` rows of x times a `columns`-wide weight of `outputs` rows."""

    type_name: str
    rows: int
    outputs: int
    columns: int
    dtype: str = "bfloat16"

    @property
    def fmt(self) -> formats.BlockFormat:
        return formats.get(self.type_name)


@dataclass(frozen=True)
class Buffer:
    """An array argument: "x", "out", or a part of the weight ("weight", "scales", "biases")."""

    name: str


@dataclass(frozen=True)
class Numbers:
    """Numbers passed by value: up to 8 of "int" or "int64_t"."""

    ctype: str
    values: tuple[int, ...]


Argument = Buffer | Numbers


@dataclass(frozen=True)
class Launch:
    """What the GPU runs. source: CUDA; symbol: its kernel; matrix: "gguf", the blocks, or
    "affine", MLX's own quantization of the same weights. grid counts threadgroups. defines:
    promises to the CUDA shim, see backends/mlx/metal/cuda."""

    contender: str
    source: str
    symbol: str
    arguments: tuple[Argument, ...]
    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]
    matrix: str
    defines: tuple[str, ...] = ("MSL_ALIGNED_PACKED",)


def ours(case: Case) -> Launch:
    """The launch that the tuning table gives `case`."""
    operation = kernels.for_rows(case.rows)
    kernel = kernels.linear(case.fmt, operation, case.dtype, case.dtype, case.outputs)
    return _of_kernel("ours", case, kernel)


def trials(case: Case, tunings: list[dict]) -> list[Launch]:
    """Launches of our kernels with other tunings than the table's, to choose among.

    tunings: {"operation": name, "threads": int, "n_tile": int, "m_tile": int, "tuning":
    {template argument: int}}, and to restrict it to some cases "types": [names], "rows": [M],
    "outputs": [N].
    """
    found = []
    for entry in tunings:
        limits = (("types", case.type_name), ("rows", case.rows), ("outputs", case.outputs))
        if any(key in entry and value not in entry[key] for key, value in limits):
            continue
        tuning = tuple(entry["tuning"].items())
        launch = kernels.Launch(entry["threads"], entry["n_tile"], entry["m_tile"], tuning)
        kernel = kernels.linear(case.fmt, entry["operation"], case.dtype, case.dtype, case.outputs)
        fixed = [a for a in kernel.template if a not in kernel.launch.tuning]
        kernel = replace(kernel, launch=launch, template=(*fixed, *tuning))
        values = " ".join(f"{name}={value}" for name, value in tuning)
        found.append(_of_kernel(f"try {entry['operation']} {values}", case, kernel))
    return found


def _of_kernel(contender: str, case: Case, kernel: kernels.Kernel) -> Launch:
    unit = gguf_unit(
        case, kernel.name, kernel.header, kernel.source, kernel.input_names, kernel.template
    )
    grid = kernel.launch.grid(case.outputs, case.rows)
    return from_unit(contender, case, unit, grid, kernel.launch.threadgroup)


def gguf_unit(case: Case, name, header, source, input_names, template) -> metal.Unit:
    """The unit of a kernel that reads x and raw blocks."""
    inputs = {
        "x": ("x", case.dtype, (case.rows, case.columns)),
        "weight": ("weight", "uint8", (case.outputs, case.fmt.row_bytes(case.columns))),
    }
    return metal.Unit(
        name, header, source, [inputs[n] for n in input_names], [("out", case.dtype)], template
    )


def from_unit(contender: str, case: Case, unit: metal.Unit, grid, threadgroup) -> Launch:
    """A launch of a unit over a grid in threads, as MLX takes it."""
    groups = [threads / group for threads, group in zip(grid, threadgroup, strict=True)]
    if any(count != int(count) for count in groups):
        raise ValueError(f"{unit.name}: grid {grid} is not whole threadgroups {threadgroup}")
    shapes = {name: shape for name, _, shape in unit.inputs}
    return Launch(
        contender,
        cuda_source([unit]),
        entry_symbol(unit),
        tuple(_argument(parameter, shapes) for parameter in unit.parameters),
        tuple(map(int, groups)),
        tuple(threadgroup),
        "gguf",
    )


def _argument(parameter, shapes) -> Argument:
    if parameter.role in ("input", "output"):
        return Buffer(parameter.name)
    shape = shapes[parameter.name]
    if parameter.role == "shape":
        return Numbers("int", shape)
    if parameter.role == "ndim":
        return Numbers("int", (len(shape),))
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    return Numbers("int64_t", strides)
