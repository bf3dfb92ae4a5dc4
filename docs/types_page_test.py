"""The page of types is what its generator prints, but for measured numbers within a factor of 2."""

from __future__ import annotations

import pytest

from docs import types_page


def differences(kept: str, fresh: str) -> list[str]:
    """The cells and lines of `kept` that are not those of `fresh`, as "found, expected: ..."."""
    found, measured = [], set()
    lines, expected = kept.splitlines(), fresh.splitlines()
    if len(lines) != len(expected):
        found.append(f"{len(lines)} lines, expected: {len(expected)}")
    for line, wanted in zip(lines, expected, strict=False):
        cells, fresh_cells = line.split(" | "), wanted.split(" | ")
        if fresh_cells[0] == "| type":
            measured = {
                index
                for index, cell in enumerate(fresh_cells)
                if cell.removesuffix(" |").endswith(types_page.MEASURED)
            }
        if len(cells) != len(fresh_cells):
            found.append(f"{line}, expected: {wanted}")
            continue
        found += [
            f"{cell}, expected: {other}, in {wanted}"
            for index, (cell, other) in enumerate(zip(cells, fresh_cells, strict=True))
            if cell != other and not (index in measured and _agree(cell, other))
        ]
    return found


def _agree(cell: str, other: str) -> bool:
    try:
        return 0.5 <= float(cell) / float(other) <= 2
    except ValueError:
        return False


TABLE = """\
| type | bits | fused / bound | fused wrong |
| --- | ---: | ---: | ---: |
| A | 4.5 | 0.25 | 0 |
| B | 8 | - | 0 |
"""


@pytest.mark.parametrize(
    "old, new, count",
    [
        ("0.25", "0.45", 0),
        ("0.25", "0.51", 1),
        ("0.25", "0.12", 1),
        ("0.25", "-", 1),
        ("4.5", "4.6", 1),
        ("0.25 | 0", "0.25 | 1", 1),
        ("| - |", "| 0.5 |", 1),
        ("bits", "bytes", 1),
        ("| A | 4.5 | 0.25 | 0 |\n", "", 4),
    ],
)
def test_what_differs(old: str, new: str, count: int) -> None:
    assert TABLE.count(old) == 1
    assert len(differences(TABLE.replace(old, new), TABLE)) == count


def test_page_is_fresh() -> None:
    fresh = types_page.page()
    assert differences(types_page.PAGE.read_text(), fresh) == []


def test_no_error_exceeds_what_is_allowed() -> None:
    """Of the fused path, which the page says in words."""
    page = types_page.PAGE.read_text()
    rows = [
        line.strip("| ").split(" | ")
        for line in page.split("## Errors")[1:]
        for line in line.splitlines()
        if line.startswith("| ") and "---" not in line
    ]
    rows = [row for row in rows if row[0] != "type"]
    assert len(rows) == len(types_page.DTYPES) * len(types_page.formats.FORMATS)
    assert all(float(row[1]) <= 1 and row[3] == "0" and row[6] in "0-" for row in rows)
