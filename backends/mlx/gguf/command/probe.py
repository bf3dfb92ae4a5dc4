"""One tensor of a checkpoint as a program: exported, run, and compared with the exact weights.

The program is a linear and an embedding over one and the same blob, with a dynamic number of rows
of x: one export a mode serves every M, and the embedding costs no second program.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch

from backends.mlx.gguf import formats
from backends.mlx.gguf.command import accuracy
from backends.mlx.gguf.command.report import Measurement
from backends.mlx.gguf.formats import BlockFormat
from backends.mlx.gguf.lowering import GGUFTensor, Mode, export_module
from backends.mlx.runner import Program, Runner

# Weights looked up and compared at a time: bounds the memory that a vocabulary takes.
_CHUNK_WEIGHTS = 1 << 25


class TiedProbe(torch.nn.Module):
    """x (M, K) and indices (I,) to x @ weight.T (M, N) and weight[indices] (I, K)."""

    def __init__(self, weight: GGUFTensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (torch.nn.functional.linear(x, self.weight),
                torch.nn.functional.embedding(indices, self.weight))


@dataclasses.dataclass(frozen=True)
class Probe:
    """What to measure of one tensor.

    Attributes:
        fmt: the tensor's format.
        blocks: uint8 (N, bytes per row).
        rows: the numbers of rows of x, each at least 1.
        dtype: the name of the type of the activations and of both outputs.
    """

    fmt: BlockFormat
    blocks: np.ndarray
    rows: Sequence[int]
    dtype: str

    @property
    def columns(self) -> int:
        return self.fmt.columns(self.blocks.shape[1])

    def activations(self) -> Iterator[np.ndarray]:
        """x (M, K) for each M, as float32 that hold numbers of the activations' type.

        Rows are in turn zero-mean, all-positive and far from zero; an M below 3 comes as often
        as it takes to have all three.
        """
        random = np.random.default_rng(self.columns)
        # Beyond half's range where the type allows it: nothing may narrow such activations.
        offset = 64.0 if self.dtype == "float16" else 1e5
        for count in self.rows:
            repeats = -(-3 // count)
            x = random.standard_normal((repeats * count, self.columns))
            x[1::3] = np.abs(x[1::3])
            x[2::3] = offset * (1 + x[2::3] / 64)
            yield from _rounded(x, self.dtype).reshape(repeats, count, self.columns)

    def index_chunks(self) -> np.ndarray:
        """Every row's index, in a random order: int64 (chunks, I), the end filled up."""
        rows = len(self.blocks)
        chunk = min(rows, max(1, _CHUNK_WEIGHTS // self.columns))
        order = np.random.default_rng(rows).permutation(rows)
        return np.resize(order, (-(-rows // chunk), chunk)).astype(np.int64)


def measure(probe: Probe, mode: Mode, path: Path) -> Measurement:
    """Exports the tensor in `mode` to `path`, runs the program there and compares its outputs."""
    chunks = probe.index_chunks()
    _export(probe, mode, chunks.shape[1], path)
    program = Program(path)
    fused = bool(program.kernels())
    result = Measurement(path.stat().st_size, fused)
    run = Runner(program)
    inputs = list(probe.activations())
    outputs = [_run(run, x, chunks[0], probe.dtype)[0] for x in inputs]
    narrowest = min(inputs, key=len)
    lacks_affine_form = False
    for indices in chunks:
        blocks = probe.blocks[indices]
        view = formats.affine_view(probe.fmt, blocks) if mode is Mode.REPACK else None
        lacks_affine_form |= view is None
        claim = _Claim(probe.fmt, blocks, None if fused else view, probe.dtype)
        for x, out in zip(inputs, outputs, strict=True):
            result = claim.judge_linear(result, x, out[:, indices])
        rows = _run(run, narrowest, indices, probe.dtype)[1]
        result = dataclasses.replace(result, gather_wrong=result.gather_wrong + claim.wrong(rows))
    if fused != (mode is Mode.FUSED or lacks_affine_form):
        found = "Metal kernels" if fused else "none"
        expected = "no Metal kernels" if fused else "Metal kernels"
        problem = f"{mode.value} program: expected {expected}, found {found}"
        result = dataclasses.replace(result, problem=problem)
    return result


class _Claim:
    """What some rows of a program's weight are said to be, and how far results may be from it.

    The exact weights, or where `view` is given the affine values that stand for them, whose
    factors are rounded once to the activations' type.
    """

    def __init__(self, fmt: BlockFormat, blocks: np.ndarray, view: formats.AffineView | None,
                 dtype: str) -> None:
        self._dtype = dtype
        self._reach = formats.largest_magnitude(fmt, blocks)
        exact = formats.dequantize(fmt, blocks)
        self._exact = exact.astype(np.float64)
        if view is None:
            self._weights = self._exact
            self._rows, self._gather_bound = _rounded(exact, dtype), None
            return
        scales, biases = (
            np.repeat(_rounded(factor, dtype).astype(np.float64), view.group, axis=1)
            for factor in (view.scales, view.biases))
        products = scales * view.quants
        self._rows = self._weights = products + biases
        # MLX dequantizes in the type itself: it rounds the product, then the sum.
        largest = np.maximum(np.abs(products), np.abs(self._weights))
        self._gather_bound = formats.ulp(largest, dtype)

    def judge_linear(self, result: Measurement, x: np.ndarray, out: np.ndarray) -> Measurement:
        """`result` with the errors of `out`, x (M, K) times these rows, float32 (M, I)."""
        x = x.astype(np.float64)
        product = x @ self._weights.T
        bound = formats.linear_bound(x, self._reach, product, self._dtype)
        linear = accuracy.worst_fraction(out, product, bound, self._dtype)
        relative = accuracy.worst_relative(out, x @ self._exact.T)
        return dataclasses.replace(result, linear=max(result.linear, linear),
                                   relative=max(result.relative, relative))

    def wrong(self, out: np.ndarray) -> int:
        """How many elements of `out`, float32 (I, K), are not the weights of these rows."""
        if self._gather_bound is None:
            return int((out.view(np.uint32) != self._rows.view(np.uint32)).sum())
        return int((~(np.abs(out - self._rows) <= self._gather_bound)).sum())


def _export(probe: Probe, mode: Mode, index_count: int, path: Path) -> None:
    kind = getattr(torch, probe.dtype)
    # `blocks` is a view on the read-only file, which torch warns of; nothing writes to it.
    weight = GGUFTensor.from_blocks(torch.from_numpy(probe.blocks), probe.fmt.name, kind)
    most_rows = max(2, *probe.rows)
    x = torch.zeros(most_rows, probe.columns, dtype=kind)
    indices = torch.zeros(index_count, dtype=torch.int64)
    dynamic_shapes = {"x": {0: torch.export.Dim("rows", min=1, max=most_rows)}, "indices": None}
    export_module(TiedProbe(weight).eval(), (x, indices), path, mode=mode,
                  dynamic_shapes=dynamic_shapes)


def _run(run: Runner, x: np.ndarray, indices: np.ndarray, dtype: str) -> list[np.ndarray]:
    """The program's outputs as float32."""
    outputs = run(mx.array(x).astype(getattr(mx, dtype)), mx.array(indices))
    return [np.array(out.astype(mx.float32)) for out in outputs]


def _rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` rounded once to `dtype`, as float32."""
    return torch.from_numpy(values).to(getattr(torch, dtype)).float().numpy()
