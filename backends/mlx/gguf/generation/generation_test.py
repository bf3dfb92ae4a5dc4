"""Tests of the generation loop with a model that says what it was told to say."""

from __future__ import annotations

import pytest

from backends.mlx.gguf.generation.generation import Generation, Stop
from backends.mlx.gguf.generation.sampling import Sampler, Sampling
from backends.mlx.gguf.generation.session import Session
from backends.mlx.gguf.generation.testing import Parrot

END, OTHER_END = 18, 19


def _generation(model: Parrot, max_tokens: int = 100, cache: int = 100) -> Generation:
    session = Session(model, max_seq_len=cache, prefill_chunk=64)
    return Generation(
        session,
        [1, 2, 3],
        choose=Sampler(Sampling()),
        end_ids={END, OTHER_END},
        max_tokens=max_tokens,
    )


@pytest.mark.parametrize("end", [END, OTHER_END])
def test_ends_where_the_model_does(end: int) -> None:
    model = Parrot([4, 5, 6, end])
    generation = _generation(model)
    assert list(generation) == generation.ids == [4, 5, 6]
    assert generation.stop is Stop.END and model.heard == [1, 2, 3, 4, 5, 6]
    assert generation.prefill_rate > 0 and generation.decode_rate > 0


def test_model_may_say_nothing() -> None:
    generation = _generation(Parrot([END]))
    assert not list(generation) and generation.stop is Stop.END
    assert generation.decode_rate is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ends_after_so_many_tokens_without_running_for_another(count: int) -> None:
    generation = _generation(Parrot([4, 5, 6][:count]), max_tokens=count)
    assert list(generation) == [4, 5, 6][:count] and generation.stop is Stop.LENGTH


@pytest.mark.parametrize(("cache", "count"), [(3, 1), (4, 2), (5, 3)])
def test_ends_when_the_cache_is_full(cache: int, count: int) -> None:
    generation = _generation(Parrot([4, 5, 6][:count]), cache=cache)
    assert list(generation) == [4, 5, 6][:count] and generation.stop is Stop.CACHE_FULL


def test_tokens_come_as_soon_as_they_are_chosen() -> None:
    model = Parrot([4, 5, END])
    tokens = iter(_generation(model))
    assert next(tokens) == 4 and model.heard == [1, 2, 3]
    assert next(tokens) == 5 and model.heard == [1, 2, 3, 4]
