"""What `verify` found, as records, as one line a tensor and as a table a type."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

from backends.mlx.gguf.checkpoint.file import GGUFTensorInfo
from backends.mlx.gguf.command import tables


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One tensor exported in one mode and run.

    Attributes:
        pte_bytes: the size of the program, which holds the weight once.
        fused: the program reads the blocks as they are, through a Metal kernel.
        linear: the worst error of the product, as a fraction of `formats.linear_bound`. For a
            repacked weight, against the values that the program claims to hold.
        gather_wrong: how many weights, looked up as rows of an embedding, break their rule: fused,
            bit-equal to the exact weights rounded once; repacked, equal to them, or if affine
            within one rounding of the product and one of the sum of the affine values.
        relative: the product's worst error against the exact weights, over its row's largest one.
        problem: what is wrong with the program itself, or None.
    """

    pte_bytes: int
    fused: bool
    linear: float = 0.0
    gather_wrong: int = 0
    relative: float = 0.0
    problem: str | None = None

    @property
    def passed(self) -> bool:
        return self.problem is None and self.linear <= 1 and self.gather_wrong == 0

    def describe(self) -> str:
        if self.problem is not None:
            return self.problem
        gather = f"{self.gather_wrong} wrong" if self.gather_wrong else "right"
        return f"linear {self.linear:.3f} of the bound, gather {gather}"


@dataclasses.dataclass(frozen=True)
class TensorReport:
    """One tensor in both modes."""

    info: GGUFTensorInfo
    fused: Measurement
    repack: Measurement
    seconds: float

    @property
    def passed(self) -> bool:
        return self.fused.passed and self.repack.passed

    def line(self) -> str:
        """`name type shape: fused ...; repacked ...; ok, 3.1 s`."""
        second = "repack mode (fused, no MLX form)" if self.repack.fused else "repacked"
        shape = "x".join(map(str, self.info.shape))
        verdict = "ok" if self.passed else "WRONG"
        return (
            f"{self.info.name} {self.info.ggml_type} {shape}: fused {self.fused.describe()}; "
            f"{second} {self.repack.describe()}; {verdict}, {self.seconds:.1f} s"
        )


_HEADERS = (
    "type",
    "tensors",
    "weights",
    "bytes\nraw",
    ".pte bytes\nfused",
    ".pte bytes\nrepack",
    "fused\n/ bound",
    "fused\nrelative",
    "fused\ngather",
    "repacked\n/ bound",
    "repacked\nrelative",
    "repacked\ngather",
    "fused, no\nMLX form",
    "wrong",
)

_UNITS = (
    "/ bound: a product's worst |error| over its bound, 1 ulp + 4e-6 sum |x_k| r_k (r_k: the "
    "largest magnitude\n  that the weight's sub-block can represent); at most 1. Fused against "
    "the exact weights in float64,\n  repacked against the values that the program holds.\n"
    "relative: a product's worst |error| against the exact weights, over the largest |output| of "
    "its row.\n"
    "gather: weights of looked-up rows that break their rule; fused must be bit-equal.\n"
    "fused, no MLX form: tensors that repack mode kept fused; their errors count as fused. "
    "wrong: tensors.\n"
    "Tensors of three dimensions hold experts: each row of x is multiplied by all their matrices."
)


def type_table(reports: Iterable[TensorReport]) -> str:
    """A table with a row for each type, and the units of its columns."""
    by_type: dict[str, list[TensorReport]] = defaultdict(list)
    for report in reports:
        by_type[report.info.ggml_type].append(report)
    rows = [_type_row(ggml_type, group) for ggml_type, group in by_type.items()]
    return f"{tables.render(_HEADERS, rows)}\n{_UNITS}"


def _type_row(ggml_type: str, group: list[TensorReport]) -> list[str | int]:
    repacked = [report.repack for report in group if not report.repack.fused]
    # Programs of repack mode that stayed fused are held to the fused rule, in the fused columns.
    fused = [report.fused for report in group]
    fused += [report.repack for report in group if report.repack.fused]
    return [
        ggml_type,
        len(group),
        sum(report.info.weights for report in group),
        sum(report.info.nbytes for report in group),
        sum(report.fused.pte_bytes for report in group),
        sum(report.repack.pte_bytes for report in group),
        *_errors(fused),
        *_errors(repacked),
        len(group) - len(repacked),
        sum(not report.passed for report in group),
    ]


def _errors(measurements: list[Measurement]) -> list[str]:
    if not measurements:
        return ["-", "-", "-"]
    return [
        f"{max(m.linear for m in measurements):.3f}",
        f"{max(m.relative for m in measurements):.1e}",
        f"{sum(m.gather_wrong for m in measurements):,}",
    ]


def unsupported_table(infos: Iterable[GGUFTensorInfo]) -> str:
    """The types that cannot be verified yet, with counts and bytes."""
    by_type: dict[str, list[GGUFTensorInfo]] = defaultdict(list)
    for info in infos:
        by_type[info.ggml_type].append(info)
    rows = [
        (
            ggml_type,
            len(group),
            sum(info.weights for info in group),
            sum(info.nbytes for info in group),
        )
        for ggml_type, group in by_type.items()
    ]
    headers = ("not supported", "tensors", "weights", "bytes raw")
    return tables.render(headers, rows)
