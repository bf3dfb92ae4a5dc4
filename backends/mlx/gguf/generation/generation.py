"""Generates text with a session: token after token, until something ends it; times included."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from backends.mlx.gguf.generation.session import Session


class Stop(enum.Enum):
    """Why a generation ended."""

    END = "end"  # the model said so
    LENGTH = "length"  # as many tokens as were asked for
    CACHE_FULL = "cache full"
    INTERRUPT = "interrupt"


class Generation:
    """The continuation of one prompt. Iterating over it generates; it can be done once.

    Attributes:
        prompt_ids: the prompt.
        ids: what was generated so far, without the token that ended it.
        stop: why it ended, None as long as it has not.
        prefill_seconds: time for the prompt, up to the first token.
        decode_seconds: time for all tokens after the first.
    """

    def __init__(
        self,
        session: Session,
        prompt_ids: Sequence[int],
        *,
        choose: Callable[[np.ndarray], int],
        end_ids: Collection[int],
        max_tokens: int,
    ) -> None:
        """Prepares; nothing runs yet.

        Args:
            choose: token id from logits, float32 (vocabulary,).
            end_ids: tokens that end the text.
            max_tokens: the most to generate, at least 1.
        """
        self._session = session
        self._choose = choose
        self._end_ids = end_ids
        self._max_tokens = max_tokens
        self.prompt_ids = list(prompt_ids)
        self.ids: list[int] = []
        self.stop: Stop | None = None
        self.prefill_seconds = 0.0
        self.decode_seconds = 0.0
        self._decoded = 0

    def __iter__(self) -> Iterator[int]:
        """Yields each token as soon as it is chosen.

        Raises:
            SessionError: the prompt does not fit the cache.
            LogitsError: the model's logits are not numbers.
        """
        start = time.perf_counter()
        token = self._choose(self._session.prefill(self.prompt_ids))
        self.prefill_seconds = time.perf_counter() - start
        while token not in self._end_ids:
            self.ids.append(token)
            yield token
            if len(self.ids) == self._max_tokens:
                self.stop = Stop.LENGTH
                return
            if not self._session.room:
                self.stop = Stop.CACHE_FULL
                return
            # The time that the caller takes for a token is not the model's.
            start = time.perf_counter()
            token = self._choose(self._session.step(token))
            self.decode_seconds += time.perf_counter() - start
            self._decoded += 1
        self.stop = Stop.END

    @property
    def prefill_rate(self) -> float | None:
        """Tokens of the prompt per second, None before they are through."""
        return _rate(len(self.prompt_ids), self.prefill_seconds)

    @property
    def decode_rate(self) -> float | None:
        """Tokens per second after the first, None where there is no second."""
        return _rate(self._decoded, self.decode_seconds)


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if seconds else None
