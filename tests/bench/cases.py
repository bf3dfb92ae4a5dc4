"""The rows of the GPU benchmark's table."""

from __future__ import annotations

from backends.mlx.gguf import formats

from tests.bench.launch import Case

# (outputs, columns): a vocabulary head, the feed-forward layers, an attention projection.
HEAD, DOWN, SQUARE, UP = (128256, 4096), (4096, 14336), (4096, 4096), (14336, 4096)
BATCHES = (2, 4, 8, 16)
PREFILL = 512
BATCH_TYPE = "Q4_K"  # the type whose batches are measured in full


def cases(dtype: str = "bfloat16", types: list[str] | None = None) -> list[Case]:
    """All rows for the types of the table, or for those named in `types`."""
    names = [t for t in types or formats.FORMATS if t in formats.FORMATS]
    found = [Case(t, 1, *shape, dtype) for t in names for shape in (HEAD, DOWN, SQUARE, UP)]
    for shape in (HEAD, SQUARE):
        for name in names:
            batches = BATCHES if name == BATCH_TYPE else BATCHES[2:]
            found += [Case(name, rows, *shape, dtype) for rows in batches]
    found += [Case(name, PREFILL, *SQUARE, dtype) for name in names]
    return found
