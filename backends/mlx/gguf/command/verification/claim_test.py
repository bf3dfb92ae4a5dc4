"""Tests of the report's measures of error, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.command.verification.claim import worst_fraction, worst_relative


def test_worst_fraction() -> None:
    exact, bound = np.array([[1.0, 2.0]]), np.array([[0.5, 0.25]])
    assert worst_fraction(np.array([[1.25, 2.25]]), exact, bound, "float32") == 1.0
    assert worst_fraction(exact, exact, bound, "float32") == 0.0
    assert worst_fraction(np.array([[np.nan, 2.0]]), exact, bound, "float32") == np.inf
    assert worst_fraction(np.array([[np.inf, 2.0]]), exact, bound, "float32") == np.inf


def test_overflow_is_right_only_with_its_sign() -> None:
    exact, bound = np.array([[1e6]]), np.array([[1.0]])
    assert worst_fraction(np.array([[np.inf]]), exact, bound, "float16") == 0.0
    assert worst_fraction(np.array([[-np.inf]]), exact, bound, "float16") == np.inf
    assert worst_fraction(np.array([[np.inf]]), exact, bound, "bfloat16") == np.inf


def test_worst_relative_is_taken_row_by_row() -> None:
    exact = np.array([[1.0, 4.0], [100.0, 0.0]])
    assert worst_relative(exact + [[0.0, 1.0], [1.0, 0.0]], exact) == 0.25
    assert worst_relative(np.array([[np.nan]]), np.array([[1.0]])) == np.inf
