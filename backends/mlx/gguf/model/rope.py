"""How a file turns q and k: the frequencies of its rotary embedding, as llama.cpp computes them.

A pair of numbers i of a head of size n turns by base^(-2i / n) radians a position. A model whose
context was stretched turns slower, by `rope.scaling.*`:

    linear     every pair, by the factor
    yarn       pairs that turn seldom within the original context, by the factor; those that turn
               often as before (YaRN, arXiv 2309.00071, section 3.2; q and k grow, section 3.3)
    longrope   each pair by a number of its own, a tensor (LongRoPE, arXiv 2402.13753)

Llama 3's stretching is a tensor too, rope_freqs.weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from backends.mlx.gguf.checkpoint.file import GGUFError
from backends.mlx.gguf.model.hyperparameters import Hyperparameters

_TYPES = ("none", "linear", "yarn", "longrope")
_DEFAULT_BASE = 10000.0
# LongRoPE's divisors, for contexts beyond the original one and within it.
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
# Pairs that turn more often than this within the original context stay; less often: all stretched.
_YARN_FAST, _YARN_SLOW = 32.0, 1.0


@dataclass(frozen=True)
class Rope:
    """A rotary embedding.

    Attributes:
        base: of the frequencies.
        factor: by which positions are divided.
        magnitude: by which q and k grow.
        original_length: of YaRN, the context before the stretching; None: another kind.
        factors: the name of a tensor with a divisor for each frequency.
    """

    base: float = _DEFAULT_BASE
    factor: float = 1.0
    magnitude: float = 1.0
    original_length: int | None = None
    factors: str | None = None

    def frequencies(self, size: int) -> torch.Tensor:
        """Radians a position for each pair of a head of `size`, float64 (size / 2,).

        Without what the tensor `factors` divides by.
        """
        full = self.base ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
        if self.original_length is None:
            return full / self.factor

        def pair(turns: float) -> float:
            """The pair that turns so often within the original context, a fraction maybe."""
            length = self.original_length / (2 * math.pi * turns)
            return size * math.log(length) / (2 * math.log(self.base))

        first = max(0, math.floor(pair(_YARN_FAST)))
        last = min(size - 1, math.ceil(pair(_YARN_SLOW)))
        pairs = torch.arange(size // 2, dtype=torch.float64)
        slow = ((pairs - first) / max(0.001, last - first)).clamp(0, 1)
        return full * (1 - slow) + full / self.factor * slow

    @property
    def tensors(self) -> set[str]:
        """Those that the file may have for it: of LongRoPE's two lengths only one is used."""
        if self.factors in (_LONG, _SHORT):
            return {_LONG, _SHORT}
        return set() if self.factors is None else {self.factors}

    @property
    def growth(self) -> float:
        """By which q and k grow each."""
        if self.original_length is None or self.factor <= 1:
            return self.magnitude
        return self.magnitude * (1 + 0.1 * math.log(self.factor))

    def unscaled(self, base: float) -> Rope:
        """The same for layers of another base, whose positions nothing divides."""
        magnitude = self.magnitude
        if self.original_length is not None and self.factor < 1:
            # What llama.cpp takes back there of a growth that it has not given.
            magnitude /= 1 + 0.1 * math.log(self.factor)
        return replace(self, base=base, factor=1.0, magnitude=magnitude)


def read(values: Hyperparameters, cache_length: int, *, tensors: bool = False) -> Rope:
    """The rotary embedding that the metadata describes.

    Args:
        cache_length: how many positions there will be: beyond the original context LongRoPE has
            other divisors.
        tensors: whether files of the architecture may hold divisors.

    Raises:
        GGUFError: a type that is not known, or numbers that no rotation has.
    """
    base = values.number("rope.freq_base", _DEFAULT_BASE)
    # The older key; the newer goes before it. 0 is no factor.
    old = values.number("rope.scale_linear", 0.0)
    factor = values.number("rope.scaling.factor", old) or 1.0
    magnitude = values.number("rope.scaling.attn_factor", 1.0)
    kind = values.optional("rope.scaling.type", str, "linear")
    trained = values.count("context_length")
    original = values.count("rope.scaling.original_context_length", trained)
    if kind not in _TYPES:
        raise values.error("rope.scaling.type", ", ".join(_TYPES), repr(kind))
    for name, value in (("rope.freq_base", base), ("rope.scaling.factor", factor)):
        if value <= 0:
            raise values.error(name, "a positive number", value)
    if kind == "yarn" and base <= 1:
        raise values.error("rope.freq_base", "more than 1, for YaRN", base)
    return Rope(
        base,
        1.0 if kind == "none" else factor,
        magnitude,
        original if kind == "yarn" else None,
        _factors(values, kind == "longrope", cache_length > original) if tensors else None,
    )


def _factors(values: Hyperparameters, required: bool, long: bool) -> str | None:
    """The tensor that divides the frequencies."""
    if values.has("rope_freqs.weight"):
        return "rope_freqs.weight"
    if not required:
        return None
    name = _LONG if long else _SHORT
    if not values.has(name):
        raise GGUFError(values.file.path, f"tensor {name}", "it, for LongRoPE", "no such tensor")
    return name
