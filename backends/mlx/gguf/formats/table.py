"""The table of block formats. Adding a GGUF type: one row here, one Metal header."""

from __future__ import annotations

from backends.mlx.gguf.formats import k_quants, legacy_quants
from backends.mlx.gguf.formats.block_format import Affine, BlockFormat

_ROWS = (
    BlockFormat(
        name="Q4_0",
        ggml_id=2,
        block_weights=32,
        block_bytes=18,
        header="q4_0.h",
        affine=Affine(bits=4, group=32, signed=True),
        unpack=legacy_quants.unpack_q4_0,
    ),
    BlockFormat(
        name="Q4_1",
        ggml_id=3,
        block_weights=32,
        block_bytes=20,
        header="q4_1.h",
        affine=Affine(bits=4, group=32, signed=False),
        unpack=legacy_quants.unpack_q4_1,
    ),
    BlockFormat(
        name="Q5_0",
        ggml_id=6,
        block_weights=32,
        block_bytes=22,
        header="q5_0.h",
        affine=Affine(bits=5, group=32, signed=True),
        unpack=legacy_quants.unpack_q5_0,
    ),
    BlockFormat(
        name="Q5_1",
        ggml_id=7,
        block_weights=32,
        block_bytes=24,
        header="q5_1.h",
        affine=Affine(bits=5, group=32, signed=False),
        unpack=legacy_quants.unpack_q5_1,
    ),
    BlockFormat(
        name="Q8_0",
        ggml_id=8,
        block_weights=32,
        block_bytes=34,
        header="q8_0.h",
        affine=Affine(bits=8, group=32, signed=True),
        unpack=legacy_quants.unpack_q8_0,
    ),
    BlockFormat(
        name="Q4_K",
        ggml_id=12,
        block_weights=256,
        block_bytes=144,
        header="q4_k.h",
        affine=Affine(bits=4, group=32, signed=False),
        unpack=k_quants.unpack_q4_k,
    ),
    BlockFormat(
        name="Q5_K",
        ggml_id=13,
        block_weights=256,
        block_bytes=176,
        header="q5_k.h",
        affine=Affine(bits=5, group=32, signed=False),
        unpack=k_quants.unpack_q5_k,
    ),
    BlockFormat(
        name="Q6_K",
        ggml_id=14,
        block_weights=256,
        block_bytes=210,
        header="q6_k.h",
        affine=Affine(bits=6, group=16, signed=True),
        unpack=k_quants.unpack_q6_k,
    ),
)

FORMATS: dict[str, BlockFormat] = {row.name: row for row in _ROWS}
_BY_ID = {row.ggml_id: row for row in _ROWS}


class UnsupportedTypeError(ValueError):
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
