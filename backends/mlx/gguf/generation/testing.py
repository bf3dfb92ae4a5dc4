"""A model for tests that says what it was told to say."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Parrot:
    """Says the tokens of `reply` one after another, whatever it is told; records what that is."""

    def __init__(self, reply: Iterable[int], vocabulary: int = 20) -> None:
        self.reply = iter(reply)
        self.vocabulary = vocabulary
        self.heard: list[int] = []
        self.prepared = False

    def prepare(self) -> int:
        """As of `runner.Runner`."""
        self.prepared = True
        return 0

    def __call__(self, tokens: np.ndarray, cache_position: np.ndarray) -> list[np.ndarray]:
        assert cache_position[0] == len(self.heard)
        self.heard += tokens[0].tolist()
        logits = np.zeros((1, 1, self.vocabulary), np.float32)
        logits[0, 0, next(self.reply)] = 1
        return [logits]

    def reset(self) -> None:
        self.heard.clear()
