"""Errors of every type in both modes, measured on the programs that are exported for them.

One program a mode and dtype holds a weight of every type, multiplied by several numbers of rows of
x and looked up row by row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mlx.core as mx
import numpy as np
import torch

from backends.mlx.gguf import formats
from backends.mlx.gguf.command.verification.claim import Claim, repacked_as
from backends.mlx.gguf.command.verification.probe import activations
from backends.mlx.gguf.formats import testing as sample
from backends.mlx.gguf.lowering import GGUFTensor, Mode, export_module
from backends.mlx.program import Program
from backends.mlx.runner import Runner

OUTPUTS, COLUMNS = 67, 512
# Rows of x: one for each kind of kernel.
ROWS = (1, 5, 33)


class Errors(NamedTuple):
    """Of one type in one mode.

    bound: the linear's worst error against the exact weights over `formats.linear_bound`.
    relative: the same over the largest output of its row.
    wrong: weights, looked up, that break the rule of `Claim.wrong`.
    """

    bound: float
    relative: float
    wrong: int


class AllTypes(torch.nn.Module):
    """Linears of each x (M, K) and an embedding of indices (I,), for each weight in turn."""

    def __init__(self, weights: list[GGUFTensor]) -> None:
        super().__init__()
        for index, weight in enumerate(weights):
            parameter = torch.nn.Parameter(weight, requires_grad=False)
            self.register_parameter(f"weight{index}", parameter)

    def forward(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        *xs, indices = inputs
        return [
            result
            for weight in self.parameters()
            for result in (
                *(torch.nn.functional.linear(x, weight) for x in xs),
                torch.nn.functional.embedding(indices, weight),
            )
        ]


def measure(mode: Mode, dtype: str) -> dict[str, Errors]:
    """The errors of every type; in repack mode of those that are repacked."""
    blocks = {name: sample.blocks(fmt, OUTPUTS, COLUMNS) for name, fmt in formats.FORMATS.items()}
    views = dict.fromkeys(blocks)
    # MLX's products do not depend on the number of rows.
    rows = ROWS[-1:] if mode is Mode.REPACK else ROWS
    if mode is Mode.REPACK:
        for name, data in blocks.items():
            read = repacked_as(formats.get(name), data, OUTPUTS)
            views[name] = read and read(formats.get(name), data)
        blocks = {name: data for name, data in blocks.items() if views[name] is not None}
    x = activations(ROWS[-1], COLUMNS, dtype)
    xs = [x[:count] for count in rows]
    results = _run(mode, dtype, blocks, xs)
    found = {}
    for name, data in blocks.items():
        *products, looked_up = (next(results) for _ in (*xs, None))
        fmt = formats.get(name)
        bounds, relatives = zip(
            *map(Claim(fmt, data, None, dtype).linear, xs, products), strict=True
        )
        wrong = Claim(fmt, data, views[name], dtype).wrong(looked_up)
        found[name] = Errors(max(bounds), max(relatives), wrong)
    return found


def _run(
    mode: Mode, dtype: str, blocks: dict[str, np.ndarray], xs: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """The program's outputs as float32; every row is looked up, in order."""
    kind = getattr(torch, dtype)
    weights = [
        GGUFTensor.from_blocks(torch.from_numpy(data), name, kind) for name, data in blocks.items()
    ]
    inputs = [torch.from_numpy(x).to(kind) for x in xs] + [torch.arange(OUTPUTS)]
    with tempfile.TemporaryDirectory(prefix="mlx_gguf_types.") as folder:
        path = Path(folder) / "types.pte"
        export_module(AllTypes(weights).eval(), tuple(inputs), path, mode=mode)
        run = Runner(Program(path))
        for out in run(*inputs):
            yield np.array(out.astype(mx.float32))
