"""Races our kernels against ExecuTorch's and MLX's on one NVIDIA GPU. A proxy for Apple's.

    gpu_bench build [--types Q4_K ...] [--dtype bfloat16] [--out build/bench]
    build/bench/gpu_bench build/bench/gpu_bench.data results.json      (on a machine with the GPU)
    gpu_bench report [--docs docs]

`build` needs nvcc; the binary needs the GPU and nothing else; `report` needs neither: it fills
docs/performance.md from the result files in docs/performance/ and draws the plots.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make the binary and its data")
    build.add_argument("--types", nargs="*", help="GGUF types; all that there are by default")
    build.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"))
    build.add_argument("--out", type=Path, default=Path("build/bench"))
    build.add_argument("--nvcc", default="nvcc")
    build.add_argument("--no-rivals", action="store_true", help="ours alone")
    build.add_argument("--tunings", type=Path, help="JSON of more tunings, see launch.trials")
    build.add_argument("--jobs", type=int, default=2)
    report = commands.add_parser("report", help="fill the tables of the document, draw the plots")
    report.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    # Under `bazel run`, paths are meant from where the command was given.
    os.chdir(os.environ.get("BUILD_WORKING_DIRECTORY", "."))
    if arguments.command == "build":
        from bench.build import build as make
        from bench.cases import cases

        tunings = json.loads(arguments.tunings.read_text()) if arguments.tunings else []
        rows = cases(arguments.dtype, arguments.types)
        for path in make(
            rows, arguments.out, arguments.nvcc, arguments.jobs, tunings, not arguments.no_rivals
        ):
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    else:
        from bench import report

        document = arguments.docs / "performance.md"
        results = arguments.docs / "performance"
        document.write_text(report.fill(document.read_text(), report.tables(results)))
        print(document)
        if (results / "gpu.json").exists():
            from bench import plots

            print(*plots.draw(results), sep="\n")


if __name__ == "__main__":
    main()
