"""Builds what a metal_library rule needs from a units file. Run with --help for its steps.

A units file is described at text.unit.load_units. Exit status: 0, 1 if the address-space check
found errors or the compiler refused a kernel, 2 for bad arguments, a bad units file
or a bad environment variable.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
from collections.abc import Sequence
from pathlib import Path

from backends.mlx.common.errors import InputError
from backends.mlx.metal import compile as compile_
from backends.mlx.metal.text.address_spaces import check_group
from backends.mlx.metal.text.unit import Unit, grouped, load_units

# What MLX's prelude gives every kernel, as far as kernels may use it; MLX puts its own in front.
_PRELUDE = """\
#include <metal_stdlib>
using namespace metal;
typedef half float16_t;
typedef bfloat bfloat16_t;
"""

_SHOWN_ERRORS = 20


def write_sources(units: Sequence[Unit], out: Path) -> None:
    """One `.metal` file a unit, named after its function: prelude and text, ready to compile."""
    out.mkdir(parents=True, exist_ok=True)
    for unit in units:
        (out / f"{unit.function}.metal").write_text(_PRELUDE + unit.text, encoding="utf-8")


def write_address_report(units: Sequence[Unit], out: Path) -> int:
    """Checks every unit, writes what was found, prints the first errors. Returns their number."""
    with concurrent.futures.ProcessPoolExecutor(compile_.max_workers()) as pool:
        checked = pool.map(check_group, grouped(units))
        found = [diagnostic for diagnostics in checked for diagnostic in diagnostics]
    lines = [str(diagnostic) for diagnostic in found]
    lines.append(f"{len(units)} units, {len(found)} errors")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for diagnostic in found[:_SHOWN_ERRORS]:
        print(diagnostic, file=sys.stderr)
    if len(found) > _SHOWN_ERRORS:
        print(f"... {len(found) - _SHOWN_ERRORS} more errors", file=sys.stderr)
    return len(found)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.step in _PREPARATIONS:
            compile_.prepare_build(_PREPARATIONS[options.step], options.out)
            return 0
        if options.units is None:
            raise InputError(f"--units: expected a units file for step {options.step}, found none")
        return _step(load_units(options.units, options.root), options)
    except compile_.CompileError as error:
        print(f"build_library: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"build_library: {error}", file=sys.stderr)
        return 2


# Step -> the build whose shared part it makes.
_PREPARATIONS = {f"prepare-{build}": build for build in compile_.BUILDS}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_library", description=__doc__)
    parser.add_argument("--units", type=Path, help="units file (JSON); not for prepare")
    parser.add_argument("--root", type=Path, help="folder the file's paths are relative to")
    parser.add_argument("--out", type=Path, required=True, help="file, or folder")
    parser.add_argument("--prepared", type=Path, help="folder that a prepare step made")
    parser.add_argument(
        "--step",
        required=True,
        choices=["sources", "address", *compile_.BUILDS, *_PREPARATIONS],
        help="sources: a folder of complete texts; address: the address-space check's report; "
        "checked, fast: one library of that build with all units; prepare-checked, prepare-fast: "
        "a folder with what all libraries of that build share",
    )
    return parser


def _step(units: Sequence[Unit], options: argparse.Namespace) -> int:
    """Takes one step, and returns the exit status."""
    if options.step == "address":
        return 1 if write_address_report(units, options.out) else 0
    if options.step == "sources":
        write_sources(units, options.out)
    else:
        compile_.compile_library(units, options.step, options.out, options.prepared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
