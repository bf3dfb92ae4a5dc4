"""Which kernel a shape gets, and with which tile: the one table of tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backends.mlx.gguf.formats import BlockFormat
from backends.mlx.gguf.kernels import operations


@dataclass(frozen=True)
class Launch:
    """How a kernel is launched: MLX's grid counts threads, not threadgroups.

    threads: threads of a threadgroup, all along x.
    n_tile: outputs of a threadgroup, or with per_thread columns of a thread.
    m_tile: rows of x, or indices, of a threadgroup.
    tuning: values of the template arguments that tile sizes are compiled in with.
    per_thread: along x, the grid's threads and not its threadgroups share out the columns.
    per_expert: along y, a threadgroup takes one expert, with all its rows.
    """

    threads: int
    n_tile: int
    m_tile: int
    tuning: tuple[tuple[str, int | bool], ...] = ()
    per_thread: bool = False
    per_expert: bool = False

    @property
    def threadgroup(self) -> tuple[int, int, int]:
        return (self.threads, 1, 1)

    def grid_x(self, n: int) -> int:
        """Threads along x for `n` outputs (linear, experts) or `n` columns (gather)."""
        tiles = -(-n // self.n_tile)
        return tiles if self.per_thread else tiles * self.threads

    def grid(self, n: int, m: int) -> tuple[int, int, int]:
        """The grid for `n` outputs or columns and `m` rows of x, indices or experts."""
        return (self.grid_x(n), -(-m // self.m_tile), 1)


def _qmv(rows: int, simdgroups: int, split_k: bool = False, x_rows: int = 1) -> Launch:
    return _mat_vec(rows, simdgroups, split_k, (("X_ROWS", x_rows),), x_rows)


def _gather_qmv(rows: int, simdgroups: int, split_k: bool = False) -> Launch:
    return _mat_vec(rows, simdgroups, split_k)


def _mat_vec(
    rows: int, simdgroups: int, split_k: bool, more: tuple = (), m_tile: int = 1
) -> Launch:
    tuning = (("ROWS", rows), *more, ("SIMDGROUPS", simdgroups), ("SPLIT_K", split_k))
    return Launch(32 * simdgroups, rows if split_k else rows * simdgroups, m_tile, tuning)


def _qmv_batch(tiles: int, x_tiles: int, simdgroups: int) -> Launch:
    tuning = (("TILES", tiles), ("X_TILES", x_tiles), ("SIMDGROUPS", simdgroups))
    return Launch(32 * simdgroups, 8 * tiles, 8 * x_tiles, tuning)


def _qmm(outputs: int, x_rows: int, simdgroups: int) -> Launch:
    tuning = (("OUTPUTS", outputs), ("X_ROWS", x_rows), ("SIMDGROUPS", simdgroups))
    return Launch(32 * simdgroups, outputs, x_rows, tuning)


def _gather_qmm(outputs: int, x_rows: int, simdgroups: int) -> Launch:
    return replace(_qmm(outputs, x_rows, simdgroups), m_tile=1, per_expert=True)


def _gather(threads: int, share: int) -> Launch:
    return Launch(threads, share, 1, (("SHARE", share),), per_thread=True)


# The types of most weights of most files: every kernel of theirs is built ahead.
_COMMON = ("Q4_K", "Q6_K", "Q8_0")

# Outputs from which on a GPU is full with the threadgroups that are best for each output.
_MANY = 32768

# (GGUF type or None for every other, operation) -> launches, each with the outputs N from
# which on it is used. The times are microseconds on one NVIDIA H100, bfloat16, 1 row of x,
# for N x K of 128256 x 4096 / 14336 x 4096 / 4096 x 14336 / 4096 x 4096, as they were when
# the tile was chosen; docs/performance.md has the present ones. Nothing was measured on
# Apple hardware.
_TABLE: dict[tuple[str | None, str], tuple[tuple[int, Launch], ...]] = {
    # Four rows share a load, a widening and a sum of x: two rows cost 0.3 to 0.8 cycles a
    # weight more (of about 3) on Apple's G13 instruction set. K split over two simdgroups hides
    # the latency of types with much to decode. Four rows split, four, two, at 128256 x 4096 and
    # 4096 x 4096: Q6_K 182 / 9.8, 192 / 11.9, 203 / 10.0; Q4_0 139 / 10.3, 149 / 17.5,
    # 138 / 10.7; Q5_0 163 / 11.3, 173 / 18.3, 170 / 11.9; Q2_K 162 / 12.7, 241 / 20.5,
    # 199 / 12.6; Q3_K 269 / 12.9, 347 / 13.7, 378 / 15.2; IQ4_XS 194 / 9.8, 273 / 21.7,
    # 220 / 14.2; IQ3_S 245 / 15.3, 254 / 28.0, 255 / 17.1; IQ2_S 183 / 13.2, 206 / 24.5,
    # 174 / 10.5; TQ2_0 153 / 10.5, 230 / 16.7, 235 / 13.4; MXFP4 327 / 16.1, 355 / 25.5,
    # 328 / 17.2. The other types agree.
    (None, "qmv"): ((0, _qmv(4, 2, split_k=True)),),
    # 113 / 18.0 / 19.1 / 7.8; K split over two simdgroups - / 18.5 / 18.5 / 7.5.
    ("Q4_K", "qmv"): ((0, _qmv(4, 2, split_k=True)), (8192, _qmv(4, 2))),
    # 138 / 21.2 / 22.3 / 9.0, with two rows 167 / 24.1 / 23.5 / 9.2, with K split over two
    # simdgroups - / 23.0 / 24.9 / 9.3. Threadgroups of 1, 2 or 4 simdgroups differ by 1 percent.
    ("Q5_K", "qmv"): ((0, _qmv(4, 2)),),
    # 128256 x 4096 and 4096 x 4096: 185 / 13.9, split 224 / 15.3, two rows 213 / 11.8.
    ("IQ4_NL", "qmv"): ((0, _qmv(4, 2)),),
    # A lane has 16 weights of a row only: more simdgroups on a row hide the latency. Four
    # rows: 235 / 35.3 / 51.0 / 16.7, K split over four: 204 / 27.9 / 27.1 / 9.4. Two rows:
    # 214 / 28.2 / 36.6 / 12.4, K split over two: 203 / 26.3 / 27.7 / 9.6.
    ("Q8_0", "qmv"): (
        (0, _qmv(4, 4, split_k=True)),
        (8192, _qmv(2, 2, split_k=True)),
    ),
    # 2 rows of x, 128256 x 4096 / 14336 x 4096 / 4096 x 4096, for rows of the weight and K split
    # over two simdgroups or not. Q5_K: four 186 / 27.3 / 10.1, six 200 / 31.5 / 11.7, four split
    # 207 / 27.7 / 12.0, two 300 / 39.7 / 12.2. IQ4_XS: 250 / 33.0 / 14.8, 275 / 40.1 / 19.9,
    # 274 / 38.5 / 14.5, 253 / 33.0 / 11.6.
    (None, "qmv_2"): ((0, _qmv(4, 2, x_rows=2)),),
    # Six 150 / 22.9 / 10.3, four 166 / 23.7 / 9.3, four split 178 / 24.5 / 8.9.
    ("Q4_K", "qmv_2"): (
        (0, _qmv(4, 2, split_k=True, x_rows=2)),
        (8192, _qmv(6, 2, x_rows=2)),
    ),
    # Six 219 / 32.9 / 12.4, four split 238 / 32.0 / 10.9, four 277 / 40.2 / 14.5.
    ("Q6_K", "qmv_2"): (
        (0, _qmv(4, 2, split_k=True, x_rows=2)),
        (_MANY, _qmv(6, 2, x_rows=2)),
    ),
    # Four 235 / 31.6 / 13.5, four split 246 / 34.9 / 12.6, two split 263 / 33.1 / 14.2.
    ("Q8_0", "qmv_2"): (
        (0, _qmv(4, 2, split_k=True, x_rows=2)),
        (8192, _qmv(4, 2, x_rows=2)),
    ),
    # Q4_0: four split 150 / 20.3 / 7.8, four 191 / 34.8 / 17.6, two 209 / 27.9 / 12.5.
    **{
        (name, "qmv_2"): ((0, _qmv(4, 2, split_k=True, x_rows=2)),)
        for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1")
    },
    # More tiles share the activations, more simdgroups share out K. Q4_K, 8 rows of x,
    # 128256 x 4096 / 4096 x 4096, for tiles x simdgroups: 4 x 4 203 / 19.5, 3 x 8 204 / 13.8,
    # 2 x 8 252 / 12.3. Before the loads were moved ahead: 4 x 8 233 / 13.6, 2 x 4 264 / 21.8,
    # and the other types agreed.
    (None, "qmv_batch"): ((0, _qmv_batch(2, 1, 8)), (_MANY, _qmv_batch(4, 1, 4))),
    # The same, Q4_K, 16 rows: 4 x 4 326 / 22.9, 2 x 8 471 / 17.3.
    (None, "qmv_batch_16"): ((0, _qmv_batch(2, 2, 8)), (_MANY, _qmv_batch(4, 2, 4))),
    # One simdgroup's 32 x 16 outputs are 8 matrices of 8x8: 16 registers of sums a lane.
    (None, "qmm"): ((0, _qmm(64, 32, 4)),),
    # The rows of a few experts fill a GPU as those of a long matrix do, so that K needs no
    # splitting. 8 of 128 experts, N x K of 768 x 2048 / 2048 x 768, for rows: Q4_K four 9.8 /
    # 12.8, two 10.5 / 14.9, eight 9.7 / 13.2, four with K split over two simdgroups 11.4 / 18.1.
    # Q6_K: 10.9 / 12.6, 11.5 / 12.5, split 10.6 / 17.0.
    (None, "gather_qmv"): ((0, _gather_qmv(4, 2)),),
    # 10.7 / 13.3; not split 12.2 / 14.0, two rows 12.0 / 14.1, split over four 12.8 / 15.6.
    ("Q8_0", "gather_qmv"): ((0, _gather_qmv(4, 2, split_k=True)),),
    # The tile of qmm, once for as many rows of an expert as it has of x.
    (None, "gather_qmm"): ((0, _gather_qmm(64, 32, 4)),),
    # A thread decodes one half sub-block of 16 weights.
    (None, "gather"): ((0, _gather(64, 16)),),
}

# (operation, fewest rows of x, most rows or None), ascending: the linear operation that a number
# of rows selects, whatever the type and the outputs. Q4_K, 2 rows of x, 128256 x 4096 /
# 4096 x 4096: qmv_2 150 / 8.9, qmv_batch 211 / 11.7, qmv for each row 220 / 11.4; 4 rows:
# qmv_2 twice 317 / 13.6, qmv_batch 216 / 12.2. From 17 rows on qmv_batch_16 would read the
# weights twice.
ROW_RANGES: tuple[tuple[str, int, int | None], ...] = (
    ("qmv", 1, 1),
    ("qmv_2", 2, 2),
    ("qmv_batch", 3, 8),
    ("qmv_batch_16", 9, 16),
    ("qmm", 17, None),
)

# Rows for each expert, on average, up to which gather_qmv is used. It decodes a matrix anew
# for each of its rows; gather_qmm does once, but computes 32 rows of a tile where it has 1.
# Q4_K, 128 experts, 768 x 2048 / 2048 x 768, gather_qmv and gather_qmm: 3 rows 140 / 314 and
# 239 / 246, 4 rows 184 / 417 and 254 / 244, 6 rows 270 / 622 and 272 / 289. A layer has two
# of the first shape and one of the second: 785 and 752 for 4 rows, 594 and 724 for 3.
_ROWS_OF_EXPERT = 3


def launches(fmt: BlockFormat, operation: str) -> tuple[tuple[int, Launch], ...]:
    """All launches of `operation` on `fmt`, each with the outputs from which on it is used."""
    operation = operations.find(operation).name
    return _TABLE.get((fmt.name, operation)) or _TABLE[None, operation]


def is_common(fmt: BlockFormat) -> bool:
    """Whether `fmt` is one of the types that most weights of most files have."""
    return fmt.name in _COMMON


def launch(fmt: BlockFormat, operation: str, outputs: int) -> Launch:
    """The launch of `operation` on a weight of `fmt` with `outputs` rows."""
    return [value for least, value in launches(fmt, operation) if least <= outputs][-1]


def for_rows(rows: int) -> str:
    """The linear operation that `rows` >= 1 rows of x select."""
    return _of_rows(ROW_RANGES, rows, "rows of x")


def expert_row_ranges(experts: int) -> tuple[tuple[str, int, int | None], ...]:
    """(operation, fewest indices, most indices or None), ascending, for that many experts."""
    last = _ROWS_OF_EXPERT * experts
    return ("gather_qmv", 1, last), ("gather_qmm", last + 1, None)


def expert_for_rows(rows: int, experts: int) -> str:
    """The operation that `rows` >= 1 indices of `experts` experts select."""
    return _of_rows(expert_row_ranges(experts), rows, "indices")


def _of_rows(ranges: tuple, rows: int, what: str) -> str:
    for operation, first, last in ranges:
        if first <= rows and (last is None or rows <= last):
            return operation
    raise ValueError(f"{what}: expected at least 1, found {rows}")
