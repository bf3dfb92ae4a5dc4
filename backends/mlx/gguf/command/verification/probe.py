"""One tensor of a checkpoint as a program: exported, run, and compared with the exact weights.

The program multiplies by the tensor and looks its rows up, over one and the same blob, with a
dynamic number of rows of x: one export a mode serves every M, and the embedding costs no second
program. The matrices of experts are multiplied as experts, all of them for each row of x, and
looked up as the rows of one table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch

from backends.mlx.gguf.command.verification.claim import Claim, repacked_as, rounded
from backends.mlx.gguf.command.verification.report import Measurement
from backends.mlx.gguf.formats import BlockFormat
from backends.mlx.gguf.lowering import GGUFTensor, Mode, export_module
from backends.mlx.program import Program
from backends.mlx.runner import Runner

# Weights looked up and compared at a time: bounds the memory that a vocabulary takes.
_CHUNK_WEIGHTS = 1 << 25


class TiedProbe(torch.nn.Module):
    """x (M, K) and indices (I,) to x @ weight.T (M, N) and weight[indices] (I, K)."""

    def __init__(self, weight: GGUFTensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            torch.nn.functional.linear(x, self.weight),
            torch.nn.functional.embedding(indices, self.weight),
        )


class ExpertsProbe(torch.nn.Module):
    """The same of the matrices of experts, weight (E, N, K) and table (E * N, K).

    x (M, 1, 1, K) and chosen (M, E) to the products with the chosen matrices, (M, E, 1, N).
    """

    def __init__(self, weight: GGUFTensor, table: GGUFTensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.table = torch.nn.Parameter(table, requires_grad=False)

    def forward(
        self, x: torch.Tensor, indices: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            torch.ops.mlx.gather_mm(x, self.weight.transpose(-1, -2), rhs_indices=chosen),
            torch.nn.functional.embedding(indices, self.table),
        )


@dataclasses.dataclass(frozen=True)
class Probe:
    """What to measure of one tensor.

    Attributes:
        fmt: the tensor's format.
        blocks: uint8 (N, bytes per row), of experts one under the other.
        rows: the numbers of rows of x, each at least 1.
        dtype: the name of the type of the activations and of both outputs.
        experts: how many matrices of as many rows `blocks` are; None for one that is no expert's.
    """

    fmt: BlockFormat
    blocks: np.ndarray
    rows: Sequence[int]
    dtype: str
    experts: int | None = None

    @property
    def columns(self) -> int:
        return self.fmt.columns(self.blocks.shape[1])

    @property
    def chunk(self) -> int:
        """Rows of the tensor that are compared at a time."""
        return min(len(self.blocks), max(1, _CHUNK_WEIGHTS // self.columns))

    def inputs(self) -> Iterator[np.ndarray]:
        """x (M, K) for each M; an M below 3 comes as often as it takes to have all three kinds."""
        for count in self.rows:
            repeats = -(-3 // count)
            x = activations(repeats * count, self.columns, self.dtype)
            yield from x.reshape(repeats, count, self.columns)

    def index_chunks(self) -> np.ndarray:
        """Every row's index, in a random order: int64 (chunks, I), the end filled up."""
        rows = len(self.blocks)
        order = np.random.default_rng(rows).permutation(rows)
        return np.resize(order, (-(-rows // self.chunk), self.chunk)).astype(np.int64)


def activations(rows: int, columns: int, dtype: str) -> np.ndarray:
    """x (rows, columns) as float32 that hold numbers of the type `dtype`.

    Rows are in turn zero-mean, all-positive and far from zero.
    """
    # Beyond half's range where the type allows it: nothing may narrow such activations.
    offset = 64.0 if dtype == "float16" else 1e5
    x = np.random.default_rng((rows, columns)).standard_normal((rows, columns))
    x[1::3] = np.abs(x[1::3])
    x[2::3] = offset * (1 + x[2::3] / 64)
    return rounded(x, dtype)


def measure(probe: Probe, mode: Mode, path: Path) -> Measurement:
    """Exports the tensor in `mode` to `path`, runs the program there and compares its outputs."""
    chunks = probe.index_chunks()
    _export(probe, mode, chunks.shape[1], path)
    program = Program(path)
    fused = bool(program.kernels())
    read = None
    if mode is Mode.REPACK:
        read = repacked_as(probe.fmt, probe.blocks, probe.chunk)
    problem = None
    if fused != (read is None):
        found = "Metal kernels" if fused else "none"
        expected = "no Metal kernels" if fused else "Metal kernels"
        problem = f"{mode.value} program: expected {expected}, found {found}"
    run = Runner(program)
    inputs = list(probe.inputs())
    outputs = [_run(run, probe, x, chunks[0])[0] for x in inputs]
    narrowest = min(inputs, key=len)
    linear, relative, wrong = 0.0, 0.0, 0
    for indices in chunks:
        blocks = probe.blocks[indices]
        view = None if fused or read is None else read(probe.fmt, blocks)
        claim = Claim(probe.fmt, blocks, view, probe.dtype)
        for x, out in zip(inputs, outputs, strict=True):
            found = claim.linear(x, out[:, indices])
            linear, relative = max(linear, found[0]), max(relative, found[1])
        wrong += claim.wrong(_run(run, probe, narrowest, indices)[1])
    return Measurement(path.stat().st_size, fused, linear, wrong, relative, problem)


def _export(probe: Probe, mode: Mode, index_count: int, path: Path) -> None:
    kind = getattr(torch, probe.dtype)
    # `blocks` is a view on the read-only file, which torch warns of; nothing writes to it.
    blocks = torch.from_numpy(probe.blocks)
    table = GGUFTensor.from_blocks(blocks, probe.fmt.name, kind)
    most_rows = max(2, *probe.rows)
    indices = torch.zeros(index_count, dtype=torch.int64)
    rows = {0: torch.export.Dim("rows", min=1, max=most_rows)}
    if probe.experts is None:
        module = TiedProbe(table)
        inputs = (torch.zeros(most_rows, probe.columns, dtype=kind), indices)
        dynamic_shapes = {"x": rows, "indices": None}
    else:
        matrices = blocks.reshape(probe.experts, -1, blocks.shape[1])
        module = ExpertsProbe(GGUFTensor.from_blocks(matrices, probe.fmt.name, kind), table)
        chosen = torch.zeros(most_rows, probe.experts, dtype=torch.int64)
        inputs = (torch.zeros(most_rows, 1, 1, probe.columns, dtype=kind), indices, chosen)
        dynamic_shapes = {"x": rows, "indices": None, "chosen": rows}
    export_module(module.eval(), inputs, path, mode=mode, dynamic_shapes=dynamic_shapes)


def _run(run: Runner, probe: Probe, x: np.ndarray, indices: np.ndarray) -> list[np.ndarray]:
    """The program's outputs as float32: x (M, K) times all rows (M, N), and rows (I, K)."""
    values = mx.array(x).astype(getattr(mx, probe.dtype))
    if probe.experts is None:
        return _float32(run(values, mx.array(indices)))
    # Each row of x has the experts in an order of its own.
    random = np.random.default_rng(len(x))
    chosen = random.permuted(np.tile(np.arange(probe.experts), (len(x), 1)), axis=1)
    products, rows = _float32(run(values[:, None, None], mx.array(indices), mx.array(chosen)))
    in_order = np.take_along_axis(products[:, :, 0], np.argsort(chosen)[:, :, None], axis=1)
    return [in_order.reshape(len(x), -1), rows]


def _float32(outputs: Sequence[mx.array]) -> list[np.ndarray]:
    return [np.array(out.astype(mx.float32)) for out in outputs]
