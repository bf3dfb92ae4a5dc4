"""One conversation with an exported model: its cache, how far it is filled, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from backends.mlx.common.errors import InputError

LOGITS = np.dtype(np.float32)


class SessionError(InputError):
    """A request that the cache has no room for, or a model of another form. One line."""


class Model(Protocol):
    """What runs the exported method, with a cache that calls fill: `runner.Runner`, or a fake."""

    def __call__(self, tokens: np.ndarray, cache_position: np.ndarray, /) -> Sequence[Any]:
        """Runs over some tokens.

        Args:
            tokens: int64 (1, S), S from 1 to the longest that the model takes.
            cache_position: int64 (S,), the position of each, counted from 0.

        Returns:
            One float32 array (1, R, vocabulary), R at least 1, whose last row is for the token
            after the last one given.
        """

    def reset(self) -> None:
        """Empties the cache."""


class Session:
    """Feeds a model token by token, or a prompt in pieces as long as it takes.

    Attributes:
        position: how many tokens the cache holds.
        max_seq_len: how many it can hold.
    """

    def __init__(self, model: Model, *, max_seq_len: int, prefill_chunk: int) -> None:
        """Starts with an empty cache; `prefill_chunk` is the longest piece for one call."""
        self._model = model
        self._chunk = prefill_chunk
        self.max_seq_len = max_seq_len
        self.position = 0

    @property
    def room(self) -> int:
        """How many more tokens the cache can hold."""
        return self.max_seq_len - self.position

    def reset(self) -> None:
        """Forgets all tokens."""
        self._model.reset()
        self.position = 0

    def prefill(self, ids: Sequence[int]) -> np.ndarray:
        """Adds tokens and returns the logits, float32 (vocabulary,), of what follows them.

        Raises:
            SessionError: there are none, or more than there is room for; nothing was added.
        """
        if not ids:
            raise SessionError("prompt: expected at least one token, found none")
        if len(ids) > self.room:
            held = f", {self.position} of them in use" if self.position else ""
            raise SessionError(
                f"prompt: expected at most {self.room} tokens (the model's cache "
                f"has {self.max_seq_len}{held}), found {len(ids)}"
            )
        for start in range(0, len(ids), self._chunk):
            logits = self._run(ids[start : start + self._chunk])
        return logits

    def step(self, token: int) -> np.ndarray:
        """Adds one token; otherwise like `prefill`."""
        return self.prefill([token])

    def _run(self, ids: Sequence[int]) -> np.ndarray:
        tokens = np.array([ids], np.int64)
        positions = np.arange(self.position, self.position + len(ids), dtype=np.int64)
        outputs = self._model(tokens, positions)
        self.position += len(ids)
        if len(outputs) != 1:
            raise SessionError(f"model: expected one output, found {len(outputs)}")
        logits = np.asarray(outputs[0])
        if logits.dtype != LOGITS or logits.ndim != 3 or len(logits) != 1 or not logits.size:
            raise SessionError(
                f"model: expected {LOGITS} logits (1, rows, vocabulary), found "
                f"{logits.dtype} {logits.shape}"
            )
        return logits[0, -1]
