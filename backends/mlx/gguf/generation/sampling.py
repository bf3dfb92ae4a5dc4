"""Chooses the next token from its logits: the best one, or one drawn at random."""

from __future__ import annotations

import dataclasses

import numpy as np

from backends.mlx.common.errors import InputError


class LogitsError(InputError):
    """Logits that no token can be chosen from. One line: expected, found."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to choose. Applied in the order temperature, top-k, top-p, as transformers does.

    Attributes:
        temperature: 0 takes the most probable token always (greedy); otherwise logits are divided
            by it.
        top_k: only so many of the most probable tokens are left; 0 for all.
        top_p: only the fewest of the most probable tokens that together have at least this
            probability are left; 1 for all.

    Raises:
        InputError: a value is out of its range. The message begins with its name.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf:
            raise InputError(f"temperature: expected 0 or more, found {self.temperature}")
        if self.top_k < 0:
            raise InputError(f"top_k: expected 0 (all) or more, found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p: expected more than 0 and at most 1, found {self.top_p}")


class Sampler:
    """Chooses tokens; the same seed and the same logits give the same tokens."""

    def __init__(self, sampling: Sampling, seed: int = 0) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(seed)

    def __call__(self, logits: np.ndarray) -> int:
        """The id of the chosen token.

        Args:
            logits: float (vocabulary,). Minus infinity rules a token out.

        Raises:
            LogitsError: one is NaN or plus infinity, or all are minus infinity.
        """
        if self._sampling.temperature == 0:
            _check(logits)
            return int(np.argmax(logits))
        return int(self._random.choice(len(logits), p=probabilities(logits, self._sampling)))


def probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution that `sampling`, whose temperature is not 0, draws from.

    Args:
        logits: float (vocabulary,).

    Returns:
        float64 (vocabulary,), of sum 1. Of equally probable tokens those with lower ids are kept.
    """
    _check(logits)
    # The largest is subtracted first, so that neither a small temperature nor exp overflows.
    shifted = logits.astype(np.float64) - logits.max()
    with np.errstate(over="ignore"):
        weights = np.exp(shifted / sampling.temperature)
    order = np.argsort(-weights, kind="stable")
    if sampling.top_k:
        weights[order[sampling.top_k :]] = 0
    weights /= weights.sum()
    if sampling.top_p < 1:
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= sampling.top_p]] = 0
        weights /= weights.sum()
    return weights


def _check(logits: np.ndarray) -> None:
    largest = logits.max()
    # The maximum of numbers with a NaN among them is NaN.
    if not np.isfinite(largest):
        raise LogitsError(f"logits: expected a finite largest value, found {largest}")
