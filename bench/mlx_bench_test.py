"""The benchmark for a Mac runs, and what it times is right."""

import pytest

from backends.mlx.gguf import formats
from bench import mlx_bench


# A few of all kinds of blocks, as each new type costs three kernels to compile.
@pytest.mark.parametrize("type_name", [*formats.FORMATS][::4])
@pytest.mark.parametrize("rows", [1, 3, 17])
def test_race(type_name, rows, capsys):
    row = mlx_bench.race(type_name, rows, outputs=70, columns=512, dtype="bfloat16")
    assert 0 < row["error"] <= 1
    assert min(row["ours"], row["mlx"]) > 0
    assert capsys.readouterr().out.startswith(f"{type_name:8} {rows:4}")
