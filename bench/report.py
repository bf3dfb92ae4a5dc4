"""Tables and plots of docs/performance.md, from result files.

The document has places marked `<!-- table: NAME -->` ... `<!-- end -->`; what stands between is
made here and checked by report_test.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(document: str, tables: dict[str, str]) -> str:
    """`document` with the tables of those names in their places. Raises KeyError for a table
    that has no place."""
    missing = set(tables)

    def place(match: re.Match) -> str:
        name = match[2]
        if name not in tables:
            return match[0]
        missing.discard(name)
        return f"{match[1]}\n{tables[name].strip()}\n\n{match[3]}"

    filled = _PLACE.sub(place, document)
    if missing:
        raise KeyError(f"the document has no place for {', '.join(sorted(missing))}")
    return filled


def tables(folder: Path) -> dict[str, str]:
    """The tables of the result files in `folder`: gpu.json, apple_isa.json, export.json."""
    makers: dict[str, Callable[[dict], str]] = {
        "gpu": gpu_table,
        "apple_isa": apple_isa_table,
        "export": export_table,
    }
    return {
        name: make(json.loads((folder / f"{name}.json").read_text()))
        for name, make in makers.items()
        if (folder / f"{name}.json").exists()
    }


def markdown(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def gpu_rows(results: dict) -> list[dict]:
    """One entry for each case: ours, ExecuTorch's and the fastest of MLX's, as dicts or None."""
    cases: dict[tuple, dict] = {}
    for row in results["results"]:
        if row["contender"].startswith("try "):
            continue
        key = (row["type"], row["operation"], row["rows"], row["outputs"], row["columns"])
        case = cases.setdefault(key, {"ours": None, "executorch": None, "mlx": None})
        name = "mlx" if row["contender"].startswith("mlx") else row["contender"]
        if case[name] is None or row["seconds"] < case[name]["seconds"]:
            case[name] = row
    return [
        dict(zip(("type", "operation", "rows", "outputs", "columns"), key, strict=True), **case)
        for key, case in cases.items()
        if case["ours"]
    ]


def gpu_table(results: dict) -> str:
    plain = results["plain_read_bytes_per_second"]
    rows = []
    for case in gpu_rows(results):
        ours = case["ours"]
        rate = ours["weight_bytes"] / ours["seconds"]
        cells = [
            case["type"],
            case["operation"],
            case["rows"],
            f"{case['outputs']} x {case['columns']}",
            _microseconds(ours),
        ]
        for name in ("executorch", "mlx"):
            rival = case[name]
            time, ratio = "", ""
            if rival:
                kernel = rival["contender"].removeprefix("mlx").strip()
                time = _microseconds(rival) + (f" ({kernel})" if name == "mlx" else "")
                time += "" if rival["right"] else " WRONG"
                ratio = f"{rival['seconds'] / ours['seconds']:.2f}"
            cells += [time, ratio]
        rows.append(
            cells + [f"{rate / 1e9:.0f}", f"{100 * rate / plain:.0f}", f"{ours['worst_error']:.2g}"]
        )
    head = [
        "type",
        "operation",
        "M",
        "N x K",
        "ours, us",
        "ExecuTorch, us",
        "/ ours",
        "MLX, us (kernel)",
        "/ ours",
        "GB/s",
        "% of plain read",
        "error / allowed",
    ]
    caption = f"{results['device']}, plain read {plain / 1e9:.0f} GB/s.\n\n"
    return caption + markdown(head, rows)


def _microseconds(row: dict) -> str:
    return f"{row['seconds'] * 1e6:.1f}"


def apple_isa_table(results: dict) -> str:
    """Cycles a weight, "max / serial (registers)", for each type and contender."""
    cells: dict[tuple, dict] = {}
    for row in results["results"]:
        spills = ", spills" if row["spills"] else ""
        text = f"{row['max']:.2f} / {row['serial']:.2f} ({row['registers']}{spills})"
        cells.setdefault((row["type"], row["contender"]), {})[row["dtype"]] = text
    rows = [
        (*key, by_dtype.get("float16", ""), by_dtype.get("bfloat16", ""))
        for key, by_dtype in sorted(cells.items())
    ]
    return markdown(["type", "mat-vec", "f16 activations", "bf16 activations"], rows)


def export_table(results: dict) -> str:
    rows = [
        (
            row["type"],
            row["layers"],
            row["mode"],
            row["lowering"],
            f"{row['seconds']:.1f}",
            f"{row['peak_bytes'] / 2**20:.0f}",
            f"{row['growth_bytes'] / 2**20:.0f}",
            f"{row['pte_bytes'] / 2**20:.2f}",
        )
        for row in results["results"]
    ]
    head = [
        "type",
        "layers",
        "mode",
        "lowering",
        "seconds",
        "peak, MiB",
        "above the weights loaded, MiB",
        ".pte, MiB",
    ]
    return markdown(head, rows)
