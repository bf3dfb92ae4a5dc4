"""Tests of the session with a model whose logits tell what its cache holds."""

from __future__ import annotations

import numpy as np
import pytest

from backends.mlx.gguf.generation.session import Session, SessionError

VOCABULARY = 7


class CacheModel:
    """Logits for a token: the sum of what the cache holds up to it, and its position."""

    def __init__(self, size: int = 16, rows: int | None = None) -> None:
        self.rows = rows
        self.calls: list[int] = []
        self.cache = np.zeros(size, np.int64)

    def __call__(self, tokens: np.ndarray, cache_position: np.ndarray) -> list[np.ndarray]:
        assert tokens.dtype == cache_position.dtype == np.int64
        assert tokens.shape == (1, len(cache_position))
        self.calls.append(len(cache_position))
        self.cache[cache_position] = tokens[0]
        logits = np.zeros((1, len(cache_position), VOCABULARY), np.float32)
        logits[0, :, 0] = np.cumsum(self.cache)[cache_position]
        logits[0, :, 1] = cache_position
        return [logits if self.rows is None else logits[:, -self.rows :]]

    def reset(self) -> None:
        self.cache[:] = 0


@pytest.mark.parametrize("rows", [None, 1])
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8])
def test_prompt_in_pieces_equals_token_by_token(chunk: int, rows: int | None) -> None:
    model = CacheModel(rows=rows)
    session = Session(model, max_seq_len=16, prefill_chunk=chunk)
    logits = session.prefill([1, 2, 3, 4, 5])
    assert logits.shape == (VOCABULARY,) and logits.dtype == np.float32
    assert (logits[0], logits[1]) == (15, 4)
    assert max(model.calls) == min(chunk, 5) and sum(model.calls) == 5
    assert session.step(6)[:2].tolist() == [21, 5]
    assert (session.position, session.room) == (6, 10)
    assert session.prefill([7, 8])[:2].tolist() == [36, 7]


def test_reset_forgets() -> None:
    session = Session(CacheModel(), max_seq_len=16, prefill_chunk=4)
    first = session.prefill([5, 6, 7])
    session.reset()
    assert session.position == 0
    np.testing.assert_array_equal(session.prefill([5, 6, 7]), first)


def test_cache_is_used_to_its_last_place_and_no_further() -> None:
    model = CacheModel(size=4)
    session = Session(model, max_seq_len=4, prefill_chunk=3)
    with pytest.raises(SessionError, match="at most 4 tokens .*cache has 4.*, found 5"):
        session.prefill([1, 2, 3, 4, 5])
    assert not model.calls
    session.prefill([1, 2, 3])
    session.step(4)
    with pytest.raises(SessionError, match="at most 0 tokens .*has 4, 4 of them in use.*found 1"):
        session.step(5)


def test_empty_prompt() -> None:
    with pytest.raises(SessionError, match="expected at least one token, found none"):
        Session(CacheModel(), max_seq_len=4, prefill_chunk=4).prefill([])


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [np.zeros((1, 1, 7), np.float32)] * 2,
        [np.zeros((1, 7), np.float32)],
        [np.zeros((1, 1, 7), np.float16)],
        [np.zeros((1, 0, 7), np.float32)],
        [np.zeros((2, 1, 7), np.float32)],
    ],
    ids=lambda outputs: f"{len(outputs)} outputs {outputs and outputs[0].shape}",
)
def test_other_outputs_are_an_error(outputs: list[np.ndarray]) -> None:
    session = Session(lambda *_: outputs, max_seq_len=4, prefill_chunk=4)
    with pytest.raises(SessionError, match="model: expected .*, found"):
        session.step(1)
