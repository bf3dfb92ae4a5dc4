"""What `export` prints when it is done: read from the `.pte` it wrote, not from what it meant."""

from __future__ import annotations

from collections import Counter

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.command.tables import printable, render
from backends.mlx.gguf.formats import FORMATS
from backends.mlx.gguf.kernels import KernelName
from backends.mlx.gguf.model.program import Exported
from backends.mlx.program import Program

_CUSTOM_KERNELS = """\
This program runs custom Metal kernels. ExecuTorch's runtime allows that unless it was built with
ET_MLX_ALLOW_CUSTOM_KERNEL_EXECUTION off (docs/deployment.md says what it means)."""


def text(file: GGUFFile, exported: Exported, seconds: float, peak_bytes: int) -> str:
    """The summary of an export that took `seconds` and at most `peak_bytes` of memory."""
    program = Program(exported.path)
    card = exported.card
    delegates = sum(len(method.graphs) for method in program.methods.values())
    size = exported.path.stat().st_size
    source = sum(path.stat().st_size for path in file.paths)
    lines = [
        f"{exported.path}: {printable(card.name)}, {card.architecture}, activations {card.dtype}, "
        f"{card.lowering}",
        f"  cache of {card.max_seq_len:,} positions, at most {card.prefill_chunk:,} tokens a call",
        f"  {_mb(size)} from a file of {_mb(source)}: {_weights(file)}",
        f"  {delegates} delegate, {seconds:.1f} s, peak memory {_mb(peak_bytes)}",
    ]
    kernels = Counter(KernelName.parse(node.name) for node in program.kernels())
    rows = [
        (name.ggml_type, name.operation + (" + bias" if name.bias else ""), count)
        for name, count in sorted(kernels.items())
    ]
    if rows:
        lines += [
            "",
            render(["type", "operation", "places"], rows, left=(0, 1)),
            "",
            _CUSTOM_KERNELS,
        ]
    return "\n".join(lines)


def _weights(file: GGUFFile) -> str:
    quantized = [info for info in file.tensors.values() if info.ggml_type in FORMATS]
    others = [info for info in file.tensors.values() if info.ggml_type not in FORMATS]
    return (
        f"{_mb(sum(info.nbytes for info in quantized))} in {len(quantized)} tensors as raw "
        f"blocks, {_mb(sum(info.nbytes for info in others))} in {len(others)} as numbers"
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
