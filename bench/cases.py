"""The rows of the GPU benchmark's table."""

from __future__ import annotations

from backends.mlx.gguf import formats
from backends.mlx.gguf.kernels import dispatch
from bench import executorch_rival
from bench.launch import Case

# (outputs, columns): a vocabulary head, the feed-forward layers, an attention projection.
HEAD, DOWN, SQUARE, UP = (128256, 4096), (4096, 14336), (4096, 4096), (14336, 4096)
BATCHES = (2, 8, 16)
ALL_BATCHES = (2, 4, 8, 16)
PREFILL = 512
BATCH_TYPE = "Q4_K"  # the type whose batches are measured in full


def is_full(type_name: str) -> bool:
    """Whether every operation of the type is measured."""
    return dispatch.is_common(formats.get(type_name)) or executorch_rival.has(type_name)


def cases(dtype: str = "bfloat16", types: list[str] | None = None) -> list[Case]:
    """All rows for the types of the table, or for those named in `types`: of the types that are
    used most or that ExecuTorch has too, every operation; of the others, the mat-vec of the
    largest and a small shape."""
    names = [t for t in types or formats.FORMATS if t in formats.FORMATS]
    full = [t for t in names if is_full(t)]
    found = []
    for name in names:
        shapes = (HEAD, DOWN, SQUARE, UP) if name in full else (HEAD, SQUARE)
        found += [Case(name, 1, *shape, dtype) for shape in shapes]
    for shape in (HEAD, SQUARE):
        for name in full:
            batches = ALL_BATCHES if name == BATCH_TYPE else BATCHES
            found += [Case(name, rows, *shape, dtype) for rows in batches]
    found += [Case(name, PREFILL, *SQUARE, dtype) for name in full]
    return found
