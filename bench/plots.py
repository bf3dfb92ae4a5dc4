"""The plots of docs/performance.md: time against rows of x, bandwidth by type."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "mlx_gguf", "svg.fonttype": "none", "font.size": 9})

import matplotlib.pyplot as plt  # noqa: E402

from bench.report import gpu_rows  # noqa: E402

_NAMES = {"ours": "ours", "executorch": "ExecuTorch 1.5.1", "mlx": "MLX affine 4-bit, fastest"}
_COLORS = {"ours": "#0b6e4f", "executorch": "#b5651d", "mlx": "#4a5fa5"}


def draw(folder: Path) -> list[Path]:
    """Draws gpu.json of `folder` beside it. The same results give the same files."""
    results = json.loads((folder / "gpu.json").read_text())
    return [
        _save(_time_by_rows(results), folder / "time_by_rows.svg"),
        _save(_bandwidth_by_type(results), folder / "bandwidth_by_type.svg"),
    ]


def _time_by_rows(results: dict, type_name: str = "Q4_K"):
    cases = [case for case in gpu_rows(results) if case["type"] == type_name]
    # Shapes that were measured for more than two numbers of rows.
    shapes = dict.fromkeys((case["outputs"], case["columns"]) for case in cases)
    shapes = [s for s in shapes if len([c for c in cases if _shape(c) == s]) > 2]
    figure, axes = plt.subplots(
        1, len(shapes), figsize=(4.2 * len(shapes), 3.6), squeeze=False, layout="constrained"
    )
    for axis, shape in zip(axes[0], shapes, strict=True):
        here = sorted((c for c in cases if _shape(c) == shape), key=lambda c: c["rows"])
        for name, label in _NAMES.items():
            points = [(c["rows"], c[name]["seconds"] * 1e6) for c in here if c[name]]
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=label, color=_COLORS[name])
        axis.set(
            xscale="log",
            yscale="log",
            xlabel="rows of x (M)",
            ylabel="microseconds",
            title=f"{type_name}, {shape[0]} x {shape[1]}",
        )
        ticks = [c["rows"] for c in here]
        axis.set_xticks(ticks, [str(t) for t in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _bandwidth_by_type(results: dict):
    plain = results["plain_read_bytes_per_second"]
    cases = [case for case in gpu_rows(results) if case["rows"] == 1]
    largest = max(_shape(case) for case in cases)
    cases = [case for case in cases if _shape(case) == largest]
    # A line a type, so that 24 names stand under one another; the contenders are bars of it.
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.36 * len(cases)), layout="constrained")
    height = 0.8 / len(_NAMES)
    for index, (name, label) in enumerate(_NAMES.items()):
        points = [
            (at + index * height, 100 * case[name]["weight_bytes"] / case[name]["seconds"] / plain)
            for at, case in enumerate(cases)
            if case[name]
        ]
        label = label.replace("affine 4-bit", "affine, as many bits")
        if points:
            axis.barh(*zip(*points, strict=True), height=height, label=label, color=_COLORS[name])
    axis.set_yticks([at + height for at in range(len(cases))], [case["type"] for case in cases])
    axis.set_ylim(len(cases) - 0.3, -0.4)
    axis.axvline(100, color="black", linewidth=0.8, linestyle=":")
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.set(
        xlabel="% of plain read, of its own bytes", title=f"M = 1, {largest[0]} x {largest[1]}"
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _shape(case: dict) -> tuple[int, int]:
    return case["outputs"], case["columns"]


def _save(figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
