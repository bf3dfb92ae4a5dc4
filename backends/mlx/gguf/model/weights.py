"""The tensors of a file for the parameters of a network, whatever form a converter gave them.

A matrix may lie in a tensor of its own or be rows of a fused one (`attn_qkv`); it may have a bias
and a factor (`NAME.scale`) or none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PretrainedConfig

import gguf
from backends.mlx.gguf.checkpoint.file import DENSE_TYPES, GGUFError, GGUFFile, GGUFTensorInfo
from backends.mlx.gguf.formats import FORMATS
from backends.mlx.gguf.lowering import GGUFTensor

# Types that are plain numbers without a place in a network: numpy reads them.
_OTHER_NUMBERS = {"F64": "<f8", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
# What calibration left: the size of a matrix's inputs. Nothing computes with it, nor llama.cpp.
_CALIBRATION = ".input_scale"


@dataclass(frozen=True)
class Part:
    """Rows of a tensor, or all of it.

    Attributes:
        info: the tensor.
        rows: first and last but one of its rows; None: all.
    """

    info: GGUFTensorInfo
    rows: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As in torch, without dimensions of 1 before a vector's."""
        shape = self.info.shape
        if self.rows is not None:
            return (self.rows[1] - self.rows[0], *shape[1:])
        return shape[-1:] if shape[:-1] == (1,) * len(shape[:-1]) else shape

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """These rows of a tensor of the file's order: a view."""
        return tensor if self.rows is None else tensor[self.rows[0] : self.rows[1]]


class Weights:
    """Finds and loads tensors by their names in files of parts that are not fused.

    Attributes:
        used: the names of all tensors found so far.
    """

    def __init__(self, file: GGUFFile, config: PretrainedConfig):
        self.file = file
        self.used: set[str] = set()
        rows = [
            heads * config.head_dim
            for heads in (
                config.num_attention_heads,
                config.num_key_value_heads,
                config.num_key_value_heads,
            )
        ]
        self._qkv = {
            name: (sum(rows[:index]), sum(rows[: index + 1]))
            for index, name in enumerate(("attn_q", "attn_k", "attn_v"))
        }

    def find(self, name: str) -> Part | None:
        """What the file has for `name` ("blk.0.attn_q.weight"), None if it has nothing."""
        if name in self.file.tensors:
            self.used.add(name)
            return Part(self.file.tensors[name])
        stem, _, suffix = name.rpartition(".")
        prefix, _, kind = stem.rpartition(".")
        fused = self.file.tensors.get(f"{prefix}.attn_qkv.{suffix}")
        if fused is None or kind not in self._qkv:
            return None
        self.used.add(fused.name)
        if suffix == "scale":
            return Part(fused)
        if fused.shape[0] != self._qkv["attn_v"][1]:
            raise GGUFError(
                fused.path,
                f"tensor {fused.name}",
                f"{self._qkv['attn_v'][1]} rows, of q, k and v",
                f"shape {list(fused.shape)}",
            )
        return Part(fused, self._qkv[kind])

    def unused(self) -> list[str]:
        """The tensors of the file that have not been found, but for those of calibration."""
        return sorted(
            name
            for name in self.file.tensors.keys() - self.used
            if not (
                name.endswith(_CALIBRATION)
                and f"{name.removesuffix(_CALIBRATION)}.weight" in self.used
            )
        )


def load(part: Part, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """The tensor of a parameter: numbers of `dtype`, or blocks that look like it.

    Raises:
        GGUFError: it has another shape, or a type that a vector cannot have or nobody decodes.
    """
    info = part.info
    if part.shape != shape:
        raise GGUFError(
            info.path, f"tensor {info.name}", f"shape {list(shape)}", f"{list(part.shape)}"
        )
    if info.is_dense:
        return part.of(info.to_torch()).reshape(shape).to(dtype)
    if len(shape) < 2:
        raise GGUFError(
            info.path, f"tensor {info.name}", f"type {', '.join(DENSE_TYPES)}", info.ggml_type
        )
    if info.ggml_type in FORMATS:
        return GGUFTensor.from_blocks(part.of(info.to_torch()), info.ggml_type, dtype)
    return part.of(_decoded(info)).to(dtype)


def _decoded(info: GGUFTensorInfo) -> torch.Tensor:
    """float32, or the numbers of the file, of its shape: for types without a kernel."""
    if info.ggml_type in _OTHER_NUMBERS:
        values = info.blocks().view(_OTHER_NUMBERS[info.ggml_type])
        return torch.from_numpy(values.reshape(info.shape).copy())
    try:
        values = gguf.dequantize(info.blocks(), gguf.GGMLQuantizationType[info.ggml_type])
    except (NotImplementedError, KeyError) as error:
        raise GGUFError(
            info.path, f"tensor {info.name}", "a type that can be decoded", info.ggml_type
        ) from error
    return torch.from_numpy(values.reshape(info.shape))


class ScaledLinear(nn.Module):
    """A linear whose matrix has a factor: x W^T times `factor`, then the bias.

    The factors of NVFP4's files are small, and what a product is without them can be beyond
    float16: there the product is made in float32.

    forward(x): x (..., inputs). Returns (..., outputs) of x's dtype.
    """

    def __init__(self, linear: nn.Linear, factor: float):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = F.linear(x.to(self.weight.dtype), self.weight).float() * self.factor
        if self.bias is not None:
            product = product + self.bias.float()
        return product.to(x.dtype)
