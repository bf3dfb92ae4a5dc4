"""The kernels as MLX custom kernels: a header text, a body text, template arguments.

MLX compiles `header + template + signature + body` and finds a compiled kernel by its
name, its template arguments and its inputs' types. The shapes N, K and M are no part of
either: one pipeline serves every layer of a type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backends.mlx import metal
from backends.mlx.gguf.formats import BlockFormat
from backends.mlx.gguf.kernels import dispatch

FLOATS = ("float32", "float16", "bfloat16")
INDICES = ("int32", "int64")

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Kernel:
    """One kernel, ready for `metal_kernel` or for a `MetalKernelNode`.

    headers, body: the kernel's files in this folder.
    template: (name, int, bool or dtype name) in the order in which they are declared.
    launch: threadgroup and grid.
    """

    name: str
    headers: tuple[str, ...]
    body: str
    input_names: tuple[str, ...]
    template: tuple[tuple[str, int | bool | str], ...]
    launch: dispatch.Launch
    output_names: tuple[str, ...] = ("out",)

    @property
    def header(self) -> str:
        """The header text: the files and what they include, each once."""
        return _flatten(self.headers)

    @property
    def source(self) -> str:
        """The text of the kernel function's body."""
        return _read(self.body)


@cache
def linear(
    fmt: BlockFormat,
    operation: str,
    in_dtype: str,
    out_dtype: str,
    outputs: int,
    bias_dtype: str | None = None,
) -> Kernel:
    """The kernel of `out = x @ weight.T + bias` for one linear operation.

    Inputs: x (..., K) `in_dtype`; weight (N, bytes a row) uint8; bias (N,) `bias_dtype`
    if that is given. Output: out (..., N) `out_dtype`. `outputs` is N: it chooses the tile,
    nothing else.
    """
    if operation not in dispatch.LINEAR:
        raise ValueError(f"operation: expected one of {dispatch.LINEAR}, found {operation!r}")
    for dtype in (in_dtype, out_dtype, bias_dtype):
        if dtype is not None:
            _check("floating-point dtype", dtype, FLOATS)
    launch = dispatch.launch(fmt, operation, outputs)
    template = [("InT", in_dtype), ("OutT", out_dtype)]
    if bias_dtype is not None:
        template.append(("BiasT", bias_dtype))
    suffix = "_bias" if bias_dtype else ""
    file = operation.removesuffix("_16").removesuffix("_2")
    return Kernel(
        name=f"gguf_{fmt.name.lower()}_{operation}{suffix}",
        headers=(
            f"types/{fmt.header}",
            f"ops/{file}.h",
            "ops/bias.h" if suffix else "ops/no_bias.h",
        ),
        body=f"ops/{file}.metal",
        input_names=("x", "weight", "bias") if suffix else ("x", "weight"),
        template=(*template, *launch.tuning),
        launch=launch,
    )


@cache
def experts(
    fmt: BlockFormat,
    operation: str,
    in_dtype: str,
    out_dtype: str,
    outputs: int,
    index_dtype: str = "int64",
) -> Kernel:
    """The kernel of `out[r] = x[r / repeat] @ weight[indices[r]].T` for one operation on experts.

    Inputs: x (..., K) `in_dtype`; weight (E, N, bytes a row) uint8; indices (any shape, R
    elements) `index_dtype`, where R is `repeat` times the rows of x. Output: out (R rows of N)
    `out_dtype`; zeros where an index is not in [0, E). `outputs` is N: it chooses the tile,
    nothing else. Its grid covers N and R, or N and E where its launch is `per_expert`.
    """
    if operation not in dispatch.EXPERTS:
        raise ValueError(f"operation: expected one of {dispatch.EXPERTS}, found {operation!r}")
    for dtype in (in_dtype, out_dtype):
        _check("floating-point dtype", dtype, FLOATS)
    _check("index dtype", index_dtype, INDICES)
    launch = dispatch.launch(fmt, operation, outputs)
    return Kernel(
        name=f"gguf_{fmt.name.lower()}_{operation}",
        headers=(f"types/{fmt.header}", f"ops/{operation}.h"),
        body=f"ops/{operation}.metal",
        input_names=("x", "weight", "indices"),
        template=(
            ("InT", in_dtype),
            ("OutT", out_dtype),
            ("IndexT", index_dtype),
            *launch.tuning,
        ),
        launch=launch,
    )


@cache
def gather(fmt: BlockFormat, out_dtype: str, index_dtype: str = "int64") -> Kernel:
    """The kernel of an embedding: rows of the table `weight` by `indices`.

    Inputs: weight (V, bytes a row) uint8; indices (any shape) `index_dtype`. Output:
    out (*indices.shape, K) `out_dtype`; zeros where an index is not in [0, V).
    """
    _check("floating-point dtype", out_dtype, FLOATS)
    _check("index dtype", index_dtype, INDICES)
    return Kernel(
        name=f"gguf_{fmt.name.lower()}_gather",
        headers=(f"types/{fmt.header}", "ops/gather.h"),
        body="ops/gather.metal",
        input_names=("weight", "indices"),
        template=(("IndexT", index_dtype), ("OutT", out_dtype)),
        launch=dispatch.launch(fmt, "gather", 0),
    )


def _check(what: str, found: str, expected: tuple[str, ...]) -> None:
    if found not in expected:
        raise ValueError(f"{what}: expected one of {', '.join(expected)}, found {found!r}")


@cache
def _flatten(names: tuple[str, ...]) -> str:
    return metal.flatten([_HERE / name for name in names])


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text()
