"""The kernels the tests of backends/mlx/metal run: a row sum and a tiled matrix product."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mlx.core as mx

from backends.mlx import metal

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Subject:
    """A kernel's texts, which a test may change before it builds the kernel."""

    name: str
    inputs: tuple[str, ...]
    source: str
    header: str = ""

    def edited(self, old: str, new: str, occurrence: int = 1) -> Subject:
        """With `old` replaced by `new`, once, in the source or else in the header."""
        if self.source.count(old) >= occurrence:
            return dataclasses.replace(self, source=_replace(self.source, old, new, occurrence))
        assert self.header.count(old) >= occurrence, f"{self.name} has no {old!r} to replace"
        return dataclasses.replace(self, header=_replace(self.header, old, new, occurrence))

    def build(self):
        return metal.metal_kernel(self.name, self.inputs, ["out"], self.source, self.header)


ROW_SUM = Subject("row_sum", ("x",), (HERE / "row_sum.metal").read_text())
MATMUL = Subject(
    "matmul",
    ("a", "b"),
    (HERE / "matmul.metal").read_text(),
    metal.flatten([HERE / "matmul.h"]),
)


def row_sum(x, threads: int = 96, subject: Subject = ROW_SUM, dtype=None) -> mx.array:
    """Sums of the rows of x (rows, columns)."""
    dtype = dtype or x.dtype
    return subject.build()(
        inputs=[x],
        output_shapes=[(x.shape[0],)],
        output_dtypes=[dtype],
        grid=(x.shape[0] * threads, 1, 1),
        threadgroup=(threads, 1, 1),
        template=[("T", dtype)],
    )[0]


def matmul(a: mx.array, b: mx.array, subject: Subject = MATMUL, output_rows=None) -> mx.array:
    """a @ b in float32. output_rows: more than M leaves room for stray stores."""
    m, n = a.shape[0], b.shape[1]
    return subject.build()(
        inputs=[a, b],
        output_shapes=[(output_rows or m, n)],
        output_dtypes=[mx.float32],
        grid=((n + 15) // 16 * 64, (m + 15) // 16, 1),
        threadgroup=(64, 1, 1),
        template=[("T", a.dtype)],
    )[0]


def _replace(text: str, old: str, new: str, occurrence: int) -> str:
    pieces = text.split(old)
    return old.join(pieces[:occurrence]) + new + old.join(pieces[occurrence:])
