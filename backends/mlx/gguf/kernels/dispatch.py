"""Which kernel a shape gets, and with which tile: the one table of tuning."""

from __future__ import annotations

from dataclasses import dataclass

from backends.mlx.gguf.formats import BlockFormat

LINEAR = ("qmv", "qmv_batch", "qmm")
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


# (GGUF type or None for every other, operation) -> launch. The numbers come from
# prototypes timed on an NVIDIA H100 and costed on Apple's G13 instruction set with the
# mat-vec's inner loop as it stands here; nothing was measured on Apple hardware.
_TABLE: dict[tuple[str | None, str], Launch] = {
    # Four rows share a load, a widening and a sum of x: two rows cost 0.3 to 0.8 cycles
    # a weight more (of about 3), eight gain little and take registers. Two simdgroups:
    # enough threads in flight without a long tail on small N.
    (None, "qmv"): Launch(64, 8, 1, (("ROWS", 4), ("SIMDGROUPS", 2))),
    # 16 outputs for 8 rows of x; four simdgroups share out K, so that 4096 outputs still
    # make 1024 simdgroups.
    (None, "qmv_batch"): Launch(128, 16, 8, (("TILES", 2), ("SIMDGROUPS", 4))),
    # One simdgroup's 32 x 16 outputs are 8 matrices of 8x8: 16 registers of sums.
    (None, "qmm"): Launch(128, 64, 32),
    # A thread decodes one half sub-block of 16 weights.
    (None, "gather"): Launch(64, 16, 1, per_thread=True),
}

# Rows of x of the first and of the last use of each linear kernel. One row is what
# decoding does; up to two tiles of 8 the batch kernel reads the weights at most twice,
# where the mat-mat kernel would compute 32 rows.
_ROWS = (("qmv", 1, 1), ("qmv_batch", 2, 16), ("qmm", 17, None))


def launch(fmt: BlockFormat, operation: str) -> Launch:
    """The launch of `operation` on `fmt`: its own row of the table, or the common one."""
    if operation not in OPERATIONS:
        raise ValueError(f"operation: expected one of {OPERATIONS}, found {operation!r}")
    return _TABLE.get((fmt.name, operation)) or _TABLE[None, operation]


def row_ranges(fmt: BlockFormat) -> tuple[tuple[str, int, int | None], ...]:
    """(operation, fewest rows of x, most rows or None), in ascending order."""
    return _ROWS


def for_rows(fmt: BlockFormat, rows: int) -> str:
    """The linear operation that `rows` >= 1 rows of x select."""
    for operation, first, last in row_ranges(fmt):
        if first <= rows and (last is None or rows <= last):
            return operation
    raise ValueError(f"rows of x: expected at least 1, found {rows}")
