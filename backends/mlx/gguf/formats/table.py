"""The table of block formats.

A type is three things: its row here, the decoder in NumPy that the row names as `unpack` (in the
module of its family beside this one), and the Metal header that it names as `header` (in
`kernels/types/`). All else, kernels' names and bounds, repacking, tests and documents, follows.
"""

from __future__ import annotations

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.formats import (
    codebook_quants,
    four_bit_floats,
    k_quants,
    legacy_quants,
    ternary_quants,
)
from backends.mlx.gguf.formats.block_format import BlockFormat

_ROWS = (
    BlockFormat(
        name="Q4_0",
        ggml_id=2,
        block_weights=32,
        block_bytes=18,
        header="legacy/q4_0.h",
        group=32,
        quants=(-8, 7),
        unpack=legacy_quants.unpack_q4_0,
    ),
    BlockFormat(
        name="Q4_1",
        ggml_id=3,
        block_weights=32,
        block_bytes=20,
        header="legacy/q4_1.h",
        group=32,
        quants=(0, 15),
        unpack=legacy_quants.unpack_q4_1,
    ),
    BlockFormat(
        name="Q5_0",
        ggml_id=6,
        block_weights=32,
        block_bytes=22,
        header="legacy/q5_0.h",
        group=32,
        quants=(-16, 15),
        unpack=legacy_quants.unpack_q5_0,
    ),
    BlockFormat(
        name="Q5_1",
        ggml_id=7,
        block_weights=32,
        block_bytes=24,
        header="legacy/q5_1.h",
        group=32,
        quants=(0, 31),
        unpack=legacy_quants.unpack_q5_1,
    ),
    BlockFormat(
        name="Q8_0",
        ggml_id=8,
        block_weights=32,
        block_bytes=34,
        header="legacy/q8_0.h",
        group=32,
        quants=(-128, 127),
        unpack=legacy_quants.unpack_q8_0,
    ),
    BlockFormat(
        name="Q2_K",
        ggml_id=10,
        block_weights=256,
        block_bytes=84,
        header="k/q2_k.h",
        group=16,
        quants=(0, 3),
        unpack=k_quants.unpack_q2_k,
    ),
    BlockFormat(
        name="Q3_K",
        ggml_id=11,
        block_weights=256,
        block_bytes=110,
        header="k/q3_k.h",
        group=16,
        quants=(-4, 3),
        unpack=k_quants.unpack_q3_k,
    ),
    BlockFormat(
        name="Q4_K",
        ggml_id=12,
        block_weights=256,
        block_bytes=144,
        header="k/q4_k.h",
        group=32,
        quants=(0, 15),
        unpack=k_quants.unpack_q4_k,
    ),
    BlockFormat(
        name="Q5_K",
        ggml_id=13,
        block_weights=256,
        block_bytes=176,
        header="k/q5_k.h",
        group=32,
        quants=(0, 31),
        unpack=k_quants.unpack_q5_k,
    ),
    BlockFormat(
        name="Q6_K",
        ggml_id=14,
        block_weights=256,
        block_bytes=210,
        header="k/q6_k.h",
        group=16,
        quants=(-32, 31),
        unpack=k_quants.unpack_q6_k,
    ),
    BlockFormat(
        name="IQ2_XXS",
        ggml_id=16,
        block_weights=256,
        block_bytes=66,
        header="iq/iq2_xxs.h",
        group=32,
        quants=(-43, 43),
        unpack=codebook_quants.unpack_iq2_xxs,
    ),
    BlockFormat(
        name="IQ2_XS",
        ggml_id=17,
        block_weights=256,
        block_bytes=74,
        header="iq/iq2_xs.h",
        group=16,
        quants=(-43, 43),
        unpack=codebook_quants.unpack_iq2_xs,
    ),
    BlockFormat(
        name="IQ3_XXS",
        ggml_id=18,
        block_weights=256,
        block_bytes=98,
        header="iq/iq3_xxs.h",
        group=32,
        quants=(-62, 62),
        unpack=codebook_quants.unpack_iq3_xxs,
    ),
    BlockFormat(
        name="IQ1_S",
        ggml_id=19,
        block_weights=256,
        block_bytes=50,
        header="iq/iq1_s.h",
        group=32,
        quants=(-9, 9),
        unpack=codebook_quants.unpack_iq1_s,
    ),
    BlockFormat(
        name="IQ4_NL",
        ggml_id=20,
        block_weights=32,
        block_bytes=18,
        header="iq/iq4_nl.h",
        group=32,
        quants=(-127, 113),
        unpack=codebook_quants.unpack_iq4_nl,
    ),
    BlockFormat(
        name="IQ3_S",
        ggml_id=21,
        block_weights=256,
        block_bytes=110,
        header="iq/iq3_s.h",
        group=32,
        quants=(-15, 15),
        unpack=codebook_quants.unpack_iq3_s,
    ),
    BlockFormat(
        name="IQ2_S",
        ggml_id=22,
        block_weights=256,
        block_bytes=82,
        header="iq/iq2_s.h",
        group=16,
        quants=(-43, 43),
        unpack=codebook_quants.unpack_iq2_s,
    ),
    BlockFormat(
        name="IQ4_XS",
        ggml_id=23,
        block_weights=256,
        block_bytes=136,
        header="iq/iq4_xs.h",
        group=32,
        quants=(-127, 113),
        unpack=codebook_quants.unpack_iq4_xs,
    ),
    BlockFormat(
        name="IQ1_M",
        ggml_id=29,
        block_weights=256,
        block_bytes=56,
        header="iq/iq1_m.h",
        group=16,
        quants=(-9, 9),
        unpack=codebook_quants.unpack_iq1_m,
    ),
    BlockFormat(
        name="TQ1_0",
        ggml_id=34,
        block_weights=256,
        block_bytes=54,
        header="small/tq1_0.h",
        group=32,
        quants=(-1, 1),
        unpack=ternary_quants.unpack_tq1_0,
    ),
    BlockFormat(
        name="TQ2_0",
        ggml_id=35,
        block_weights=256,
        block_bytes=66,
        header="small/tq2_0.h",
        group=32,
        quants=(-1, 2),
        unpack=ternary_quants.unpack_tq2_0,
    ),
    BlockFormat(
        name="MXFP4",
        ggml_id=39,
        block_weights=32,
        block_bytes=17,
        header="small/mxfp4.h",
        group=32,
        quants=(-12, 12),
        unpack=four_bit_floats.unpack_mxfp4,
        mlx_mode="mxfp4",
    ),
    BlockFormat(
        name="NVFP4",
        ggml_id=40,
        block_weights=64,
        block_bytes=36,
        header="small/nvfp4.h",
        group=16,
        quants=(-12, 12),
        unpack=four_bit_floats.unpack_nvfp4,
        mlx_mode="nvfp4",
    ),
    BlockFormat(
        name="Q1_0",
        ggml_id=41,
        block_weights=128,
        block_bytes=18,
        header="small/q1_0.h",
        group=32,
        quants=(-1, 1),
        unpack=ternary_quants.unpack_q1_0,
    ),
)

FORMATS: dict[str, BlockFormat] = {row.name: row for row in _ROWS}
_BY_ID = {row.ggml_id: row for row in _ROWS}


class UnsupportedTypeError(InputError):
    """A GGUF type that has no row in the table."""


def get(name: str) -> BlockFormat:
    """The format with ggml's type name `name`, in any case.

    Raises UnsupportedTypeError, which lists the supported names.
    """
    found = FORMATS.get(name.upper())
    if found is None:
        raise UnsupportedTypeError(
            f"GGUF type: expected one of {', '.join(FORMATS)}, found {name!r}"
        )
    return found


def by_ggml_id(ggml_id: int) -> BlockFormat | None:
    """The format with ggml's type number `ggml_id`, or None if it has no row."""
    return _BY_ID.get(ggml_id)
