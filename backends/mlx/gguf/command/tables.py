"""Values as cells of a text table and as JSON: shortened, and safe to print whatever they hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tabulate

CELL_WIDTH = 72
NAME_WIDTH = 120
_ARRAY_ITEMS = 8


def render(
    headers: Sequence[str],
    rows: Iterable[Sequence[Any]],
    left: Sequence[int] = (0,),
    width: int = CELL_WIDTH,
) -> str:
    """A table of cells made by `cell`; the columns `left` are aligned left, the others right."""
    align = ["left" if column in left else "right" for column in range(len(headers))]
    cells = [[cell(value, width) for value in row] for row in rows]
    # tabulate takes no alignment for a table without rows.
    return tabulate.tabulate(
        cells, headers, colalign=align if cells else None, disable_numparse=True
    )


def cell(value: Any, width: int = CELL_WIDTH) -> str:
    """One line of at most `width`: ints with thousands separators, None as "-"."""
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict) and value.keys() == {"length", "first"}:
        more = ", ..." if value["length"] > len(value["first"]) else ""
        items = ", ".join(map(repr, value["first"]))
        return _shortened(f"{value['length']:,} of [{items}{more}]", width)
    return _shortened(str(value), width)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it.

    An array, of numpy, tuple or list, becomes {"length": its elements, "first": up to 8 of them};
    a number that is not finite its name.
    """
    if isinstance(value, np.ndarray):
        value = value.ravel()
        return {"length": value.size, "first": plain_items(value[:_ARRAY_ITEMS].tolist())}
    if isinstance(value, (tuple, list)):
        return {"length": len(value), "first": plain_items(value[:_ARRAY_ITEMS])}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def plain_items(values: Iterable[Any]) -> list[Any]:
    return [plain(value) for value in values]


def printable(text: str) -> str:
    """`text` in one line, without what a terminal would obey: that as its escape sequence."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _shortened(text: str, width: int) -> str:
    line = printable(text[: width + 1])
    return line if len(line) <= width else f"{line[: width - 3]}..."
