"""What a GGUF file holds: its metadata, a census of its types, and what can become of each."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from backends.mlx.gguf import formats
from backends.mlx.gguf.checkpoint.file import GGUFFile, GGUFTensorInfo
from backends.mlx.gguf.command import tables


def describe(file: GGUFFile, with_tensors: bool = False) -> dict[str, Any]:
    """The file as an object for JSON; see `inspect_file.py` for its keys."""
    by_type: dict[str, list[GGUFTensorInfo]] = defaultdict(list)
    for info in file.tensors.values():
        by_type[info.ggml_type].append(info)
    description = {
        "format": "gguf",
        "version": file.version,
        "files": [{"path": str(path), "bytes": path.stat().st_size} for path in file.paths],
        "metadata": {key: tables.plain(value) for key, value in file.metadata.items()},
        "types": [_type(infos) for infos in by_type.values()],
        "warnings": list(file.warnings),
    }
    if with_tensors:
        description["tensors"] = [
            {
                "name": info.name,
                "shape": list(info.shape),
                "type": info.ggml_type,
                "bytes": info.nbytes,
                "offset": info.offset,
                "file": str(info.path),
            }
            for info in file.tensors.values()
        ]
    return description


def text(description: dict[str, Any]) -> str:
    """What `describe` returned, as tables."""
    files = description["files"]
    size = sum(file["bytes"] for file in files)
    parts = [
        f"{files[0]['path']}: GGUF version {description['version']}, {size:,} bytes"
        + (f" in {len(files)} files" if len(files) > 1 else "")
    ]
    parts.append(tables.render(("metadata", "value"), description["metadata"].items(), (0, 1)))
    parts += [f"warning: {tables.printable(line)}" for line in description["warnings"]]
    types = description["types"]
    counts = ("tensors", "experts", "weights", "bytes")
    rows = [
        [
            row["type"],
            *(row[key] for key in counts),
            f"{row['bits_per_weight']:.4g}",
            _FUSED[row["fused"]],
            _repack(row),
        ]
        for row in types
    ]
    rows.append(["all", *(sum(row[key] for row in types) for key in counts), "", "", ""])
    parts.append(
        tables.render(
            (
                "type",
                "tensors",
                "of experts",
                "weights",
                "bytes",
                "bits a weight",
                "fused mode",
                "repack mode",
            ),
            rows,
            (0, 6, 7),
        )
    )
    if "tensors" in description:
        parts.append(
            tables.render(
                ("tensor", "type", "shape", "bytes", "offset"),
                [
                    (
                        row["name"],
                        row["type"],
                        " x ".join(map(str, row["shape"])),
                        row["bytes"],
                        row["offset"],
                    )
                    for row in description["tensors"]
                ],
                (0, 1),
                tables.NAME_WIDTH,
            )
        )
    return "\n\n".join(parts)


def _type(infos: list[GGUFTensorInfo]) -> dict[str, Any]:
    weights, size = sum(info.weights for info in infos), sum(info.nbytes for info in infos)
    fused, repack, form = _paths(infos[0])
    return {
        "type": infos[0].ggml_type,
        "tensors": len(infos),
        "experts": _experts(infos),
        "weights": weights,
        "bytes": size,
        "bits_per_weight": 8 * size / weights if weights else 0.0,
        "fused": fused,
        "repack": repack,
        "form": form,
    }


def _experts(infos: list[GGUFTensorInfo]) -> int:
    """How many of the tensors hold the matrices of experts."""
    return sum(len(info.shape) == 3 for info in infos)


def _paths(info: GGUFTensorInfo) -> tuple[str | None, str | None, dict[str, Any] | None]:
    """What fused and repack mode do with the type, and what MLX then holds."""
    if info.is_dense:
        return "dense", "dense", None
    fmt = formats.FORMATS.get(info.ggml_type)
    if fmt is None:
        return None, None, None
    form = formats.form(fmt)
    return (
        "kernel",
        "mlx" if form.certain else "mlx_or_kernel",
        {"mode": form.mode, "bits": form.bits, "group": form.group},
    )


_FUSED = {"kernel": "kernel on the blocks", "dense": "as it is", None: "not supported"}


def _repack(row: dict[str, Any]) -> str:
    form = row["form"]
    if form is None:
        return _FUSED[row["repack"]]
    text = f"{form['mode']}, {form['bits']} bits, groups of {form['group']}"
    return text if row["repack"] == "mlx" else f"{text} if groups agree, else kernel"
