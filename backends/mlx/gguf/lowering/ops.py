"""The torch operator `mlx_gguf::dequantize`: GGUF blocks to float matrices.

The operator is what an exported program holds in place of a quantized weight, and what the
lowering looks for in front of a linear, an embedding or a product with the matrices of experts.
Its eager body decodes with `formats.dequantize`, so a program runs (slowly) without any backend.
"""

from __future__ import annotations

import torch

from backends.mlx.gguf import formats

FLOAT_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def checked_format(blocks: torch.Tensor, ggml_type: str, dtype: torch.dtype) -> formats.BlockFormat:
    """Returns the format of `ggml_type` after checking that `blocks` can hold it.

    Args:
        blocks: uint8 of shape (rows, bytes per row) or (experts, rows, bytes per row), each row
            a whole number of blocks.
        ggml_type: a name of ggml's, in any case: "Q4_K", "q6_k".
        dtype: the type to decode to: float32, float16 or bfloat16.

    Raises:
        ValueError: one line with what was expected and what was found.
    """
    fmt = formats.get(ggml_type)
    if dtype not in FLOAT_DTYPES:
        expected = ", ".join(str(d) for d in FLOAT_DTYPES)
        raise ValueError(f"{fmt.name} weight: expected dtype one of {expected}, found {dtype}")
    if blocks.dtype != torch.uint8:
        raise ValueError(f"{fmt.name} blocks: expected dtype torch.uint8, found {blocks.dtype}")
    if blocks.dim() not in (2, 3):
        raise ValueError(
            f"{fmt.name} blocks: expected 2 dimensions (rows, bytes per row), or 3 with experts "
            f"first, found shape {tuple(blocks.shape)}"
        )
    fmt.columns(blocks.shape[-1])
    return fmt


def float_shape(fmt: formats.BlockFormat, blocks: torch.Tensor) -> tuple[int, ...]:
    """The shape of the weights that `blocks` of `fmt` hold: K columns in place of bytes."""
    return (*blocks.shape[:-1], fmt.columns(blocks.shape[-1]))


@torch.library.custom_op("mlx_gguf::dequantize", mutates_args=())
def dequantize(blocks: torch.Tensor, ggml_type: str, dtype: torch.dtype) -> torch.Tensor:
    """Decodes `blocks`, uint8 (..., rows, bytes per row), to (..., rows, K) of `dtype`.

    float32 values are the gguf package's, bit for bit; the other types their correct rounding.
    """
    fmt = checked_format(blocks, ggml_type, dtype)
    rows = blocks.detach().cpu().contiguous().flatten(0, -2)
    values = torch.from_numpy(formats.dequantize(fmt, rows.numpy()))
    return values.reshape(float_shape(fmt, blocks)).to(device=blocks.device, dtype=dtype)


@dequantize.register_fake
def _(blocks, ggml_type, dtype):
    fmt = checked_format(blocks, ggml_type, dtype)
    return blocks.new_empty(float_shape(fmt, blocks), dtype=dtype)
