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
from backends.mlx.common.dtypes import FLOATS, INDICES
from backends.mlx.gguf.formats import BlockFormat
from backends.mlx.gguf.kernels import dispatch, operations
from backends.mlx.gguf.kernels.operations import KernelName, Operation

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

    Raises:
        ValueError: for an operation or a dtype that there are no kernels for.
    """
    dtypes = {"InT": in_dtype, "OutT": out_dtype}
    return _kernel(fmt, operations.find(operation, "linear"), outputs, dtypes, bias_dtype)


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

    Raises:
        ValueError: for an operation or a dtype that there are no kernels for.
    """
    dtypes = {"InT": in_dtype, "OutT": out_dtype, "IndexT": index_dtype}
    return _kernel(fmt, operations.find(operation, "experts"), outputs, dtypes)


@cache
def gather(fmt: BlockFormat, out_dtype: str, index_dtype: str = "int64") -> Kernel:
    """The kernel of an embedding: rows of the table `weight` by `indices`.

    Inputs: weight (V, bytes a row) uint8; indices (any shape) `index_dtype`. Output:
    out (*indices.shape, K) `out_dtype`; zeros where an index is not in [0, V).

    Raises:
        ValueError: for a dtype that there are no kernels for.
    """
    dtypes = {"IndexT": index_dtype, "OutT": out_dtype}
    return _kernel(fmt, operations.find("gather", "embedding"), 0, dtypes)


def _kernel(
    fmt: BlockFormat,
    operation: Operation,
    outputs: int,
    dtypes: dict[str, str],
    bias_dtype: str | None = None,
) -> Kernel:
    names, inputs = operation.dtypes, operation.inputs
    headers = [f"types/{fmt.header}", f"ops/{operation.file}.h"]
    if bias_dtype is not None:
        dtypes, names, inputs = dtypes | {"BiasT": bias_dtype}, (*names, "BiasT"), (*inputs, "bias")
    if operation.may_have_bias:
        headers.append("ops/bias.h" if bias_dtype else "ops/no_bias.h")
    for name, dtype in dtypes.items():
        expected = INDICES if name == "IndexT" else FLOATS
        if dtype not in expected:
            raise ValueError(f"{name}: expected one of {', '.join(expected)}, found {dtype!r}")
    launch = dispatch.launch(fmt, operation.name, outputs)
    values = dtypes | dict(launch.tuning)
    return Kernel(
        name=str(KernelName(fmt.name, operation.name, bias_dtype is not None)),
        headers=tuple(headers),
        body=f"ops/{operation.file}.metal",
        input_names=inputs,
        template=tuple((name, values[name]) for name in (*names, *operation.tuning)),
        launch=launch,
    )


@cache
def _flatten(names: tuple[str, ...]) -> str:
    return metal.flatten([_HERE / name for name in names])


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
