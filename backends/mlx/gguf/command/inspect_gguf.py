"""What a GGUF file holds: its metadata, a census of its types, and what can become of each."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from backends.mlx.gguf import formats
from backends.mlx.gguf.checkpoint.gguf_file import GGUFFile, GGUFTensorInfo
from backends.mlx.gguf.command import tables
from backends.mlx.gguf.formats.affine import MLX_GROUPS


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
    }
    if with_tensors:
        description["tensors"] = [
            {"name": info.name, "shape": list(info.shape), "type": info.ggml_type,
             "bytes": info.nbytes, "offset": info.offset, "file": str(info.path)}
            for info in file.tensors.values()]
    return description


def text(description: dict[str, Any]) -> str:
    """What `describe` returned, as tables."""
    files = description["files"]
    size = sum(file["bytes"] for file in files)
    parts = [f"{files[0]['path']}: GGUF version {description['version']}, {size:,} bytes"
             + (f" in {len(files)} files" if len(files) > 1 else "")]
    parts.append(tables.render(("metadata", "value"), description["metadata"].items(), (0, 1)))
    types = description["types"]
    rows = [[*(row[key] for key in ("type", "tensors", "weights", "bytes")),
             f"{row['bits_per_weight']:.4g}", _FUSED[row["fused"]], _repack(row)] for row in types]
    rows.append(["all", *(sum(row[key] for row in types) for key in
                          ("tensors", "weights", "bytes")), "", "", ""])
    parts.append(tables.render(("type", "tensors", "weights", "bytes", "bits a weight",
                                "fused mode", "repack mode"), rows, (0, 5, 6)))
    if "tensors" in description:
        parts.append(tables.render(
            ("tensor", "type", "shape", "bytes", "offset"),
            [(row["name"], row["type"], " x ".join(map(str, row["shape"])), row["bytes"],
              row["offset"]) for row in description["tensors"]], (0, 1), tables.NAME_WIDTH))
    return "\n\n".join(parts)


def _type(infos: list[GGUFTensorInfo]) -> dict[str, Any]:
    weights, size = sum(info.weights for info in infos), sum(info.nbytes for info in infos)
    fused, repack, affine = _paths(infos[0])
    return {"type": infos[0].ggml_type, "tensors": len(infos), "weights": weights, "bytes": size,
            "bits_per_weight": 8 * size / weights, "fused": fused, "repack": repack,
            "affine": affine}


def _paths(info: GGUFTensorInfo) -> tuple[str | None, str | None, dict[str, Any] | None]:
    """What fused and repack mode do with the type, and its affine form."""
    if info.is_dense:
        return "dense", "dense", None
    fmt = formats.FORMATS.get(info.ggml_type)
    if fmt is None:
        return None, None, None
    affine = {"bits": fmt.affine.bits, "group": fmt.affine.group, "signed": fmt.affine.signed}
    fits = fmt.affine.group >= min(MLX_GROUPS)
    return "kernel", "affine" if fits else "affine_or_kernel", affine


_FUSED = {"kernel": "kernel on the blocks", "dense": "as it is", None: "not supported"}


def _repack(row: dict[str, Any]) -> str:
    if row["affine"] is None:
        return _FUSED[row["repack"]]
    form = f"affine, {row['affine']['bits']} bits, groups of {row['affine']['group']}"
    if row["repack"] == "affine":
        return form
    return f"{form} if they merge to {min(MLX_GROUPS)}, else stays fused"
