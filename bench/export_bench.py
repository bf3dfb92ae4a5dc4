"""Exports the same GGUF weights through our lowering and through ExecuTorch's own.

    export_bench [--types Q4_K ...] [--layers 1 16] [--size 4096] [--out RESULTS.json]

Every export runs in a process of its own: both pattern sets cannot be registered together, and
peak memory is a process's. Measured: seconds from the module to the written `.pte`, imports not
included; the process's peak resident memory; that peak above what the process had with its
weights loaded; the file's bytes. Compare only what one run prints.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODES = ("fused", "repack")
LOWERINGS = ("ours", "executorch")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--types", nargs="*", default=["Q4_K"])
    parser.add_argument("--layers", nargs="*", type=int, default=[1])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = run(arguments.types, arguments.layers, arguments.size)
    if arguments.out:
        document = {"size": arguments.size, "results": results}
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


def run(types: list[str], layers: list[int], size: int) -> list[dict]:
    """Measures every combination, prints and returns a dict for each."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for type_name in types:
            weights = Path(folder) / f"{type_name}.npy"
            _child("weights", type_name, size, weights)
            for count in layers:
                for mode in MODES:
                    for lowering in LOWERINGS:
                        row = {
                            "type": type_name,
                            "layers": count,
                            "mode": mode,
                            "lowering": lowering,
                        }
                        words = ("export", type_name, size, weights, count, mode, lowering)
                        row.update(child_result(*words))
                        results.append(row)
                        print(
                            f"{type_name} {count:2} layers  {mode:6} {lowering:10} "
                            f"{row['seconds']:7.2f} s  peak {row['peak_bytes'] / 2**20:6.0f} MiB"
                            f"  (+{row['growth_bytes'] / 2**20:.0f})"
                            f"  .pte {row['pte_bytes'] / 2**20:.2f} MiB",
                            flush=True,
                        )
    return results


def child_result(*words) -> dict:
    """What a process with those arguments measures."""
    return json.loads(_child(*words).splitlines()[-1])


def _child(*words) -> str:
    command = [sys.executable, "-m", "bench.export_bench", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("ET_MLX_EMIT_DIRECT_GGUF", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr[-3000:]}")
    return done.stdout


def make_weights(type_name: str, size: int, path: Path) -> None:
    import numpy as np

    from backends.mlx.gguf import formats
    from backends.mlx.gguf.formats import testing as sample

    np.save(path, sample.blocks(formats.get(type_name), size, size))


def export(type_name: str, path: Path, layers: int, mode: str, lowering: str) -> dict:
    """Exports `layers` linears without bias, one after another, for one row of bfloat16."""
    import numpy as np
    import torch

    if lowering == "ours":
        wrap, lower = _ours(type_name, mode)
    else:
        wrap, lower = _executorch(type_name, mode)
    blocks = torch.from_numpy(np.load(path))
    size = blocks.shape[0]
    model = torch.nn.Sequential()
    for layer in range(layers):
        linear = torch.nn.Linear(size, size, bias=False, device="meta")
        # Rotated, so that no two layers are the same constant.
        weight = wrap(torch.roll(blocks, layer, dims=0))
        linear.weight = torch.nn.Parameter(weight, requires_grad=False)
        model.append(linear)
    example = (torch.zeros(1, size, dtype=torch.bfloat16),)
    loaded = _peak_bytes()
    with tempfile.TemporaryDirectory() as folder:
        pte = Path(folder) / "model.pte"
        start = time.perf_counter()
        lower(model.eval(), example, pte)
        seconds = time.perf_counter() - start
        bytes_written = pte.stat().st_size
    peak = _peak_bytes()
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "growth_bytes": peak - loaded,
        "pte_bytes": bytes_written,
    }


def _ours(type_name: str, mode: str):
    import torch

    from backends.mlx.gguf import lowering

    def wrap(blocks):
        return lowering.GGUFTensor.from_blocks(blocks, type_name, dtype=torch.bfloat16)

    return wrap, lambda model, example, path: lowering.export_module(
        model, example, path, mode=mode
    )


def _executorch(type_name: str, mode: str):
    import torch

    from backends.mlx import overlay

    overlay.ensure()
    os.environ["ET_MLX_EMIT_DIRECT_GGUF"] = "1" if mode == "fused" else "0"
    importlib.import_module("executorch.backends.mlx.custom_kernel_ops.gguf.patterns")
    from executorch.backends.mlx import MLXPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.llm.export.gguf import ExportableGGUFTensor

    def wrap(blocks):
        return ExportableGGUFTensor.from_raw(blocks, type_name.lower(), torch.bfloat16)

    def lower(model, example, path):
        with torch.no_grad():
            exported = torch.export.export(model, example, strict=True)
            edge = to_edge_transform_and_lower(exported, partitioner=[MLXPartitioner()])
            with open(path, "wb") as file:
                edge.to_executorch().write_to_file(file)

    return wrap, lower


def _peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss there starts from the parent's
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    if sys.argv[1:2] == ["weights"]:
        make_weights(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    elif sys.argv[1:2] == ["export"]:
        _, _, name, _, blocks_path, count, chosen, which = sys.argv
        print(json.dumps(export(name, Path(blocks_path), int(count), chosen, which)))
    else:
        main()
