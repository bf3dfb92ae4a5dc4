"""`GGUFTensor`: a weight that keeps the bytes of its GGUF blocks and looks like float matrices.

It can replace the weight of an `nn.Linear` or `nn.Embedding`, or with 3 dimensions the weights of
experts. A linear, an embedding, a transposition or an index of it becomes `mlx_gguf::dequantize`
followed by the plain operator, in eager and in an exported program alike; whoever lowers the
program may fuse the two.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from backends.mlx.gguf.lowering.ops import checked_format, float_shape

aten = torch.ops.aten


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
