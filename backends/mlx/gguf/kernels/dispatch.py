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
    tuning: tuple[tuple[str, int | bool], ...] = ()
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


def _qmv(rows: int, simdgroups: int, split_k: bool = False) -> Launch:
    tuning = (("ROWS", rows), ("SIMDGROUPS", simdgroups), ("SPLIT_K", split_k))
    return Launch(32 * simdgroups, rows if split_k else rows * simdgroups, 1, tuning)


def _qmv_batch(tiles: int, x_tiles: int, simdgroups: int) -> Launch:
    tuning = (("TILES", tiles), ("X_TILES", x_tiles), ("SIMDGROUPS", simdgroups))
    return Launch(32 * simdgroups, 8 * tiles, 8 * x_tiles, tuning)


# Outputs from which on a GPU is full with the threadgroups that are best for each output.
_MANY = 32768

# (GGUF type or None for every other, operation) -> launches, each with the outputs N from
# which on it is used. The times are microseconds on one NVIDIA H100, bfloat16, 1 row of x,
# for N x K of 128256 x 4096 / 14336 x 4096 / 4096 x 14336 / 4096 x 4096, as they were when
# the tile was chosen; docs/performance.md has the present ones. Nothing was measured on
# Apple hardware.
_TABLE: dict[tuple[str | None, str], tuple[tuple[int, Launch], ...]] = {
    # Four rows share a load, a widening and a sum of x: two rows cost 0.3 to 0.8 cycles a
    # weight more (of about 3) on Apple's G13 instruction set. Q5_K: 138 / 21.2 / 22.3 / 9.0,
    # with two rows 167 / 24.1 / 23.5 / 9.2, with K split over two simdgroups - / 23.0 / 24.9 /
    # 9.3. Threadgroups of 1, 2 or 4 simdgroups differ by 1 percent.
    (None, "qmv"): ((0, _qmv(4, 2)),),
    # 113 / 18.0 / 19.1 / 7.8; K split over two simdgroups - / 18.5 / 18.5 / 7.5.
    ("Q4_K", "qmv"): ((0, _qmv(4, 2, split_k=True)), (8192, _qmv(4, 2))),
    # Four rows: 187 / 25.8 / 33.6 / 11.3; two: 194 / 25.2 / 26.4 / 9.3.
    ("Q6_K", "qmv"): ((0, _qmv(2, 2)), (_MANY, _qmv(4, 2))),
    # A lane has 16 weights of a row only: more simdgroups on a row hide the latency. Four
    # rows: 235 / 35.3 / 51.0 / 16.7, K split over four: 204 / 27.9 / 27.1 / 9.4. Two rows:
    # 214 / 28.2 / 36.6 / 12.4, K split over two: 203 / 26.3 / 27.7 / 9.6.
    ("Q8_0", "qmv"): (
        (0, _qmv(4, 4, split_k=True)),
        (8192, _qmv(2, 2, split_k=True)),
    ),
    # More tiles share the activations, more simdgroups share out K. Q4_K, 8 rows of x,
    # 128256 x 4096 / 4096 x 4096, for tiles x simdgroups: 4 x 4 225 / 22.6, 2 x 8
    # 283 / 14.1, 4 x 8 233 / 13.6 (but 32 outputs a threadgroup), 2 x 4 264 / 21.8. The
    # other types agree.
    (None, "qmv_batch"): ((0, _qmv_batch(2, 1, 8)), (_MANY, _qmv_batch(4, 1, 4))),
    # The same, Q4_K, 16 rows: 4 x 4 380 / 29.6, 2 x 8 517 / 18.9.
    (None, "qmv_batch_16"): ((0, _qmv_batch(2, 2, 8)), (_MANY, _qmv_batch(4, 2, 4))),
    # One simdgroup's 32 x 16 outputs are 8 matrices of 8x8: 16 registers of sums a lane.
    (None, "qmm"): ((0, Launch(128, 64, 32)),),
    # A thread decodes one half sub-block of 16 weights.
    (None, "gather"): ((0, Launch(64, 16, 1, per_thread=True)),),
}

# Rows of x of the first and of the last use of each linear kernel, by the outputs from which
# on they hold. Q4_K, 2 rows of x: mat-vecs 226 / 10.8, qmv_batch 209 / 13.1 (the two shapes
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


def is_tuned(fmt: BlockFormat) -> bool:
    """Whether `fmt` has launches of its own: the types that are used most have."""
    return any(name == fmt.name for name, _ in _TABLE)


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
