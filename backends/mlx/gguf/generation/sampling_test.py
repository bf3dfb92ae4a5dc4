"""Tests of sampling against distributions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from backends.mlx.gguf.generation.sampling import LogitsError, Sampler, Sampling, probabilities

# Probabilities 4/8, 2/8, 1/8, 1/8 at temperature 1, out of order.
LOGITS = np.log(np.array([1, 4, 1, 2], np.float32))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0), [1 / 8, 4 / 8, 1 / 8, 2 / 8]),
        (Sampling(0.5), [1 / 22, 16 / 22, 1 / 22, 4 / 22]),
        (Sampling(1.0, top_k=2), [0, 2 / 3, 0, 1 / 3]),
        (Sampling(1.0, top_k=3), [1 / 7, 4 / 7, 0, 2 / 7]),  # equals: the lower id stays
        (Sampling(1.0, top_k=9), [1 / 8, 4 / 8, 1 / 8, 2 / 8]),
        (Sampling(1.0, top_p=0.1), [0, 1, 0, 0]),
        (Sampling(1.0, top_p=0.49), [0, 1, 0, 0]),
        (Sampling(1.0, top_p=0.7), [0, 2 / 3, 0, 1 / 3]),
        (Sampling(1.0, top_p=0.8), [1 / 7, 4 / 7, 0, 2 / 7]),
        # Of the two that top-k leaves, the first alone has 2/3.
        (Sampling(1.0, top_k=2, top_p=0.6), [0, 1, 0, 0]),
        # At half the temperature the first alone has 16/22.
        (Sampling(0.5, top_p=0.7), [0, 1, 0, 0]),
    ],
    ids=str,
)
def test_distribution(sampling: Sampling, expected: list[float]) -> None:
    found = probabilities(LOGITS, sampling)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float64 and found[np.array(expected) == 0].sum() == 0


def test_probabilities_do_not_overflow_and_do_not_change_the_logits() -> None:
    logits = np.array([3e38, -3e38, -np.inf, 2.9e38], np.float32)
    before = logits.copy()
    np.testing.assert_array_equal(probabilities(logits, Sampling(1e-30)), [1, 0, 0, 0])
    np.testing.assert_array_equal(logits, before)


def test_greedy_takes_the_first_of_the_best() -> None:
    assert Sampler(Sampling())(np.array([0, 3, -1, 3], np.float32)) == 1


def test_draws_follow_the_distribution_and_the_seed() -> None:
    sampling = Sampling(0.5, top_k=3, top_p=0.99)
    expected = probabilities(LOGITS, sampling)
    draws = 4000
    first, again, other = (
        [sampler(LOGITS) for _ in range(draws)]
        for sampler in (Sampler(sampling, 7), Sampler(sampling, 7), Sampler(sampling, 8))
    )
    assert first == again != other
    counts = np.bincount(first, minlength=4)
    deviation = np.sqrt(draws * expected * (1 - expected))
    assert (np.abs(counts - draws * expected) <= 4 * deviation).all(), counts


@pytest.mark.parametrize("logits", [[0, np.nan], [0, np.inf], [-np.inf, -np.inf]], ids=str)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_an_error(logits: list[float], temperature: float) -> None:
    with pytest.raises(LogitsError, match="expected a finite largest value, found"):
        Sampler(Sampling(temperature))(np.array(logits, np.float32))


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -1.0},
        {"temperature": np.nan},
        {"temperature": np.inf},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": np.nan},
    ],
    ids=str,
)
def test_settings_are_checked(values: dict[str, float]) -> None:
    (name,) = values
    with pytest.raises(ValueError, match=f"{name}: expected .*, found"):
        Sampling(**values)
