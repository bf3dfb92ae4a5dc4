"""Which kernel a shape gets, and with which tile: the one table of tuning."""

from __future__ import annotations

from dataclasses import dataclass

from backends.mlx.gguf.formats import BlockFormat

# qmv_batch_16 is qmv_batch with two tiles of x instead of one.
LINEAR = ("qmv", "qmv_batch", "qmv_batch_16", "qmm")
OPERATIONS = (*LINEAR, "gather")


@dataclass(frozen=True)
class Launch:
    """How a kernel is launched: MLX's grid counts threads, not threadgroups.

    threads: threads of a threadgroup, all along x.
    n_tile: outputs (linear) of a threadgroup, or weights (gather) of a thread.
    m_tile: rows of x (linear) or indices (gather) of a threadgroup.
    tuning: the template arguments that the tile sizes are compiled in with.
    """

    threads: int
    n_tile: int
    m_tile: int
    tuning: tuple[tuple[str, int], ...] = ()
    per_thread: bool = False

    @property
    def threadgroup(self) -> tuple[int, int, int]:
        return (self.threads, 1, 1)

    def grid_x(self, n: int) -> int:
        """Threads along x for `n` outputs (linear) or `n` columns (gather)."""
        tiles = -(-n // self.n_tile)
        return tiles if self.per_thread else tiles * self.threads

    def grid(self, n: int, m: int) -> tuple[int, int, int]:
        """The grid for `n` outputs or columns and `m` rows of x or indices."""
        return (self.grid_x(n), -(-m // self.m_tile), 1)




def _qmv(rows: int, simdgroups: int) -> Launch:
    tuning = (("ROWS", rows), ("SIMDGROUPS", simdgroups))
    return Launch(32 * simdgroups, rows * simdgroups, 1, tuning)


def _qmv_batch(tiles: int, x_tiles: int, simdgroups: int) -> Launch:
    tuning = (("TILES", tiles), ("X_TILES", x_tiles), ("SIMDGROUPS", simdgroups))
    return Launch(32 * simdgroups, 8 * tiles, 8 * x_tiles, tuning)


# Outputs from which on a GPU is full with the threadgroups that are best for each output.
_MANY = 32768

# (GGUF type or None for every other, operation) -> launches, each with the outputs N from
# which on it is used. The times are microseconds on an NVIDIA H100, bfloat16, all of one run,
# for N x K of 128256 x 4096 / 14336 x 4096 / 4096 x 14336 / 4096 x 4096. Nothing was
# measured on Apple hardware.
_TABLE: dict[tuple[str | None, str], tuple[tuple[int, Launch], ...]] = {
    # Four rows share a load, a widening and a sum of x: two rows cost 0.3 to 0.8 cycles a
    # weight more (of about 3) on Apple's G13 instruction set. Q4_K: 116 / 18.8 / 19.3 / 8.1,
    # with two rows 161 / 21.0 / 21.1 / 8.2. Q5_K: 141 / 21.6 / 22.4 / 9.2, with two
    # 167 / 24.1 / 23.5 / 9.2. Threadgroups of 1, 2 or 4 simdgroups differ by 1 percent.
    (None, "qmv"): ((0, _qmv(4, 2)),),
    # Four rows: 189 / 26.4 / 33.9 / 11.6; two: 194 / 25.1 / 25.9 / 9.5.
    ("Q6_K", "qmv"): ((0, _qmv(2, 2)), (_MANY, _qmv(4, 2))),
    # A lane has 16 weights of a row: few rows leave more simdgroups to hide the latency.
    # Four rows: 235 / 35.3 / 51.0 / 16.7; two: 215 / 28.4 / 36.6 / 12.4; one: 230 / 28.8 /
    # 29.5 / 10.1.
    ("Q8_0", "qmv"): ((0, _qmv(1, 4)), (8192, _qmv(2, 2))),
    # More tiles share the activations, more simdgroups share out K. Q4_K, 8 rows of x,
    # 128256 x 4096 / 4096 x 4096, for tiles x simdgroups: 4 x 4 238 / 27.5, 2 x 8
    # 261 / 13.3, 2 x 4 255 / 19.4, 1 x 8 413 / 16.8. The other types agree.
    (None, "qmv_batch"): ((0, _qmv_batch(2, 1, 8)), (_MANY, _qmv_batch(4, 1, 4))),
    # The same, Q4_K, 16 rows: 4 x 4 371 / 35.7, 2 x 8 447 / 18.6; one tile of x at a time
    # 497 / 22.0.
    (None, "qmv_batch_16"): ((0, _qmv_batch(2, 2, 8)), (_MANY, _qmv_batch(4, 2, 4))),
    # One simdgroup's 32 x 16 outputs are 8 matrices of 8x8: 16 registers of sums a lane.
    (None, "qmm"): ((0, Launch(128, 64, 32)),),
    # A thread decodes one half sub-block of 16 weights.
    (None, "gather"): ((0, Launch(64, 16, 1, per_thread=True)),),
}

# Rows of x of the first and of the last use of each linear kernel, by the outputs from which
# on they hold. Q4_K, 2 rows of x: mat-vecs 226 / 10.4, qmv_batch 211 / 11.9 (the two shapes
# above). From 17 rows on qmv_batch_16 would read the weights twice.
_ROWS = (
    (0, (("qmv", 1, 2), ("qmv_batch", 3, 8), ("qmv_batch_16", 9, 16), ("qmm", 17, None))),
    (_MANY, (("qmv", 1, 1), ("qmv_batch", 2, 8), ("qmv_batch_16", 9, 16), ("qmm", 17, None))),
)


def launches(fmt: BlockFormat, operation: str) -> tuple[tuple[int, Launch], ...]:
    """All launches of `operation` on `fmt`, each with the outputs from which on it is used."""
    if operation not in OPERATIONS:
        raise ValueError(f"operation: expected one of {OPERATIONS}, found {operation!r}")
    return _TABLE.get((fmt.name, operation)) or _TABLE[None, operation]


def launch(fmt: BlockFormat, operation: str, outputs: int) -> Launch:
    """The launch of `operation` on a weight of `fmt` with `outputs` rows."""
    return _from(launches(fmt, operation), outputs)


def row_ranges(fmt: BlockFormat, outputs: int) -> tuple[tuple[str, int, int | None], ...]:
    """(operation, fewest rows of x, most rows or None), in ascending order."""
    return _from(_ROWS, outputs)


def for_rows(fmt: BlockFormat, rows: int, outputs: int) -> str:
    """The linear operation that `rows` >= 1 rows of x and `outputs` outputs select."""
    for operation, first, last in row_ranges(fmt, outputs):
        if first <= rows and (last is None or rows <= last):
            return operation
    raise ValueError(f"rows of x: expected at least 1, found {rows}")


def _from(table: tuple, outputs: int):
    """The last entry of (least outputs, value) pairs that `outputs` reaches."""
    return [value for least, value in table if least <= outputs][-1]
