"""The constant tables of the headers are the `gguf` package's, number for number."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from backends.mlx.gguf import kernels
from gguf import quants

HERE = Path(kernels.__file__).parent
TABLE = re.compile(r"^constant \w+ (\w+)\[(\d+)\] = \{([^}]*)\};", re.MULTILINE)
FOUND = {
    name: (
        int(count),
        [int(number, 0) for number in numbers.replace("\n", " ").split(",") if number.strip()],
    )
    for header in sorted(HERE.rglob("*.h"))
    for name, count, numbers in TABLE.findall(header.read_text())
}


def package_tables() -> list[list[int]]:
    """Value tables, and grids as they are packed in the package, a halfword an entry."""
    tables = [[3**n for n in range(5)]]
    for name in dir(quants):
        kind = getattr(quants, name)
        if getattr(kind, "kvalues", None):
            tables.append(list(kind.kvalues))
        if getattr(kind, "grid_hex", None):
            grid = np.frombuffer(bytes.fromhex(kind.grid_hex.decode()), "<u2")
            assert len(grid) == kind.grid_shape[0]
            tables.append(grid.tolist())
    return tables


@pytest.mark.parametrize("name", FOUND)
def test_table_is_one_of_the_package(name):
    count, numbers = FOUND[name]
    assert len(numbers) == count
    assert numbers in package_tables()


def test_every_table_of_the_package_stands_in_one_header():
    found = [numbers for _, numbers in FOUND.values()]
    for table in package_tables():
        assert found.count(table) == 1
