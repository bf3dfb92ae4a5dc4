"""`GGUFTensor`: a weight that keeps the bytes of its GGUF blocks and looks like float matrices.

It can replace the weight of an `nn.Linear` or `nn.Embedding`, or with 3 dimensions the weights of
experts. A linear, an embedding, a transposition or an index of it becomes the torch operator
`mlx_gguf::dequantize` followed by the plain operator, in eager and in an exported program alike:
what the lowering looks for. The operator's eager body decodes, so a program runs (slowly) without
any backend.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from backends.mlx.common.dtypes import FLOATS
from backends.mlx.gguf import formats

aten = torch.ops.aten


FLOAT_DTYPES = tuple(getattr(torch, name) for name in FLOATS)


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


class GGUFTensor(torch.Tensor):
    """A float matrix (rows, K), or one for each expert (experts, rows, K), stored as GGUF blocks.

    Attributes:
        blocks: uint8 of shape (rows, bytes per row) or (experts, rows, bytes per row), as in the
            file.
        ggml_type: ggml's name of the format, such as "Q4_K".

    `dtype` is the type the weight claims and decodes to, which must be that of the activations, as
    for any weight. Changing it keeps the blocks: `tensor.to(torch.float16)` moves no data.
    """

    blocks: torch.Tensor
    ggml_type: str

    @staticmethod
    def __new__(cls, blocks: torch.Tensor, ggml_type: str, dtype: torch.dtype):
        fmt = checked_format(blocks, ggml_type, dtype)
        self = torch.Tensor._make_wrapper_subclass(
            cls, float_shape(fmt, blocks), dtype=dtype, device=blocks.device, requires_grad=False
        )
        self.blocks = blocks
        self.ggml_type = fmt.name
        return self

    def __init__(self, blocks: torch.Tensor, ggml_type: str, dtype: torch.dtype):
        pass

    @classmethod
    def from_blocks(
        cls, blocks: torch.Tensor, ggml_type: str, dtype: torch.dtype = torch.bfloat16
    ) -> GGUFTensor:
        """Wraps `blocks`, uint8 ([experts,] rows, bytes per row); no copy if they are contiguous.

        Raises:
            ValueError: unknown `ggml_type`, `blocks` not uint8 matrices of whole blocks, or
                `dtype` not float32, float16 or bfloat16.
        """
        return cls(blocks.contiguous(), ggml_type, dtype)

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Returns the plain float tensor of `dtype`, by default the weight's own."""
        return torch.ops.mlx_gguf.dequantize(self.blocks, self.ggml_type, dtype or self.dtype)

    def __repr__(self):
        return f"GGUFTensor({self.ggml_type}, shape={tuple(self.shape)}, dtype={self.dtype})"

    def __tensor_flatten__(self):
        return ["blocks"], (self.ggml_type, self.dtype)

    @classmethod
    def __tensor_unflatten__(cls, inner, context, outer_size, outer_stride):
        return cls(inner["blocks"], *context)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        handler = _HANDLERS.get(func)
        if handler is None:
            raise NotImplementedError(
                f"{cls.__name__}: expected a linear, an embedding, a transposition or an index of "
                f"the weight, found {func}; dequantize() gives a plain tensor"
            )
        return handler(*args, **kwargs)


def _linear(x, weight, bias=None):
    if x.dtype != weight.dtype:
        raise ValueError(
            f"linear: expected x of the weight's dtype {weight.dtype}, found {x.dtype}; "
            "to(dtype) changes the weight's"
        )
    return F.linear(x, weight.dequantize(), bias)


def _dequantized(func):
    """`func` of the plain tensor."""
    return lambda weight, *args, **kwargs: func(weight.dequantize(), *args, **kwargs)


def _same(weight):
    return GGUFTensor(weight.blocks, weight.ggml_type, weight.dtype)


def _clone(weight, *, memory_format=None):
    return GGUFTensor(weight.blocks.clone(), weight.ggml_type, weight.dtype)


def _copy_(weight, source, non_blocking=False):
    if not isinstance(source, GGUFTensor) or source.ggml_type != weight.ggml_type:
        raise TypeError(f"copy into a weight: expected {weight!r}, found {source!r}")
    weight.blocks.copy_(source.blocks, non_blocking)
    return weight


def _to_copy(weight, *, dtype=None, device=None, **_):
    blocks = weight.blocks if device is None else weight.blocks.to(device)
    return GGUFTensor(blocks, weight.ggml_type, dtype or weight.dtype)


_HANDLERS = {
    aten.linear.default: _linear,
    **{
        func: _dequantized(func)
        for func in (
            aten.embedding.default,
            aten.t.default,
            aten.transpose.int,
            aten.permute.default,
            aten.index.Tensor,
        )
    },
    aten.detach.default: _same,
    aten.alias.default: _same,
    aten.clone.default: _clone,
    aten._to_copy.default: _to_copy,
    aten.copy_.default: _copy_,
}
