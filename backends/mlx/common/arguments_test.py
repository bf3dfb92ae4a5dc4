"""Numbers on command lines."""

import argparse

import pytest

from backends.mlx.common.arguments import at_least


def test_numbers():
    assert at_least(1)("1") == 1
    assert at_least(0)("0") == 0
    assert at_least(1, 9)("9") == 9


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "one", "1e3", " 1"])
def test_others_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number of at least 1, found"):
        at_least(1)(text)


def test_numbers_of_a_range():
    with pytest.raises(argparse.ArgumentTypeError, match="a number from 1 to 9, found '10'"):
        at_least(1, 9)("10")
