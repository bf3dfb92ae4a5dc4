"""Costs of the mat-vec inner loops on Apple's G13 instruction set, ours and the rivals'.

    apple_isa --tool PATH/mslagx [--root MSLROOT] [--types Q4_K ...] --out RESULTS.json

The tool is not part of this repository: it compiles unmodified Metal with clang and Mesa's Apple
driver, and counts the instructions of the hot loop by class. A simple operation costs 1 issue
cycle; conversions, shifts, bit-fields and integer products 4 in the complex pipe and 1 issue;
memory 0, and so look-ups in tables but for their addresses. "max" assumes that both pipes overlap
perfectly, "serial" that they do not. The result records the command of every row. A means to
compare loops, not to predict time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import dispatch
from bench import data, executorch_rival, mlx_rival
from bench.launch import Case, gguf_unit

OUTPUTS, COLUMNS = 4096, 16384
DTYPES = ("float16", "bfloat16")
# Weights that a lane of ExecuTorch's mat-vecs takes in one pass of its loop: rows times weights.
_EXECUTORCH_STEP = {"Q4_K": 2 * 32, "Q5_K": 1 * 32, "Q6_K": 2 * 16}
# MLX's qmv_fast: 4 rows times 2 packs (of 2 bits one), each of 32 bits or, where bits do not
# divide 32, of 8 weights, of 6 bits 4.
_MLX_STEP = {2: 4 * 16, 3: 4 * 16, 4: 4 * 16, 5: 4 * 16, 6: 4 * 8, 8: 4 * 8}

# A table at file scope. The tool's driver has no memory to keep one in; a load costs the same at
# any address.
_TABLE = re.compile(r"constant (\w+) (\w+)\[\d+\] = \{[^}]*\};")
_TABLE_AT = r"\n#define \2 ((constant \1*)0x100000000ul)\n"

# The columns of the tool's --row, after the label.
_COLUMNS = (
    "scope",
    "weights",
    "instructions",
    "bit operations",
    "conversions",
    "shifts",
    "FMAs",
    "float adds",
    "integer adds",
    "moves",
    "loads",
    "max",
    "serial",
    "registers",
)


@dataclass(frozen=True)
class Subject:
    """A kernel to cost. weights: that a lane consumes in one pass of the hot loop."""

    type_name: str
    contender: str
    dtype: str
    weights: int
    unit: metal.Unit | None = None
    mlx_bits: int = 0


def subjects(types: list[str]) -> list[Subject]:
    found = []
    for name in types:
        for dtype in DTYPES:
            case = Case(name, 1, OUTPUTS, COLUMNS, dtype)
            for least, launch in dispatch.launches(case.fmt, "qmv"):
                kernel = kernels.linear(case.fmt, "qmv", dtype, dtype, least)
                unit = gguf_unit(
                    case,
                    kernel.name,
                    kernel.header,
                    kernel.source,
                    kernel.input_names,
                    kernel.template,
                )
                tuning = dict(launch.tuning)
                label = f"ours, {tuning['ROWS']} rows a simdgroup"
                if tuning["SPLIT_K"]:
                    label += ", K split"
                found.append(Subject(name, label, dtype, _our_step(kernel), unit))
            rival = executorch_rival.unit(case)
            if rival is not None:
                found.append(Subject(name, "executorch", dtype, _EXECUTORCH_STEP[name], rival))
            bits = data.mlx_bits(case.type_name)
            found.append(Subject(name, "mlx qmv", dtype, _MLX_STEP[bits], None, bits))
    return found


def _our_step(kernel: kernels.Kernel) -> int:
    """Weights of a lane in one pass of qmv's loop, asked of the kernel's own header."""
    rows = dict(kernel.template)["ROWS"]
    probe = metal.metal_kernel(
        f"{kernel.name}_step",
        [],
        ["out"],
        f"out[0] = {rows} * Format::WEIGHTS / (uint)Format::MatVec<{rows}, 1>::LANES;",
        kernel.header,
    )
    (out,) = probe(
        inputs=[],
        output_shapes=[(1,)],
        output_dtypes=[mx.uint32],
        grid=(1, 1, 1),
        threadgroup=(1, 1, 1),
    )
    return out.item()


def cost(subject: Subject, tool: Path, folder: Path) -> dict:
    """The tool's row for a subject, as numbers; with the command that made it."""
    options = ["-w", str(subject.weights), "--row", "row"]
    if subject.unit is not None:
        unit = subject.unit
        spec = folder / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "name": unit.name,
                    "source": unit.source,
                    "header": _TABLE.sub(_TABLE_AT, unit.header),
                    "inputs": unit.inputs,
                    "outputs": unit.outputs,
                    "template": unit.template,
                    "tg": "64,1,1",
                }
            )
        )
        command = [str(tool), str(spec), *options]
        text = unit.text
    else:
        dtype = mlx_rival.METAL_FLOATS[subject.dtype]
        text = mlx_rival.mat_vec_text(dtype, subject.mlx_bits)
        (folder / "mlx.metal").write_text(text)
        command = [str(tool), str(folder / "mlx.metal"), "--kernel", "mat_vec", *options]
    run = subprocess.run(command, capture_output=True, text=True)
    rows = [line for line in run.stdout.splitlines() if line.startswith("| row |")]
    if run.returncode or len(rows) != 1:
        what = f"{subject.type_name} {subject.contender} {subject.dtype}"
        raise RuntimeError(f"{what}: {' '.join(command)}: {(run.stdout + run.stderr)[-1500:]}")
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")][1:]
    values = dict(zip(_COLUMNS, cells, strict=False))
    registers = values["registers"]
    return {
        "type": subject.type_name,
        "contender": subject.contender,
        "dtype": subject.dtype,
        "weights_per_pass": subject.weights,
        **{name: float(values[name].split()[0]) for name in _COLUMNS[2:-1]},
        "registers": int(registers.split()[0]),
        "spills": "SCRATCH" in registers,
        "source_sha256": hashlib.sha256(text.encode()).hexdigest(),
        # Without this machine's folders.
        "command": " ".join(Path(word).name if "/" in word else word for word in command),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tool", type=Path, required=True)
    parser.add_argument("--root", type=Path, help="MSLROOT of the tool, by default as set")
    parser.add_argument("--types", nargs="*", default=list(formats.FORMATS))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.root:
        os.environ["MSLROOT"] = str(arguments.root.resolve())
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects(arguments.types):
            row = cost(subject, arguments.tool.resolve(), Path(folder))
            results.append(row)
            print(
                f"{row['type']:5} {row['contender']:24} {row['dtype']:9}"
                f" max {row['max']:6.2f}  serial {row['serial']:6.2f}"
                f"  registers {row['registers']}{'  SPILLS' if row['spills'] else ''}",
                flush=True,
            )
    tool = hashlib.sha256(arguments.tool.read_bytes()).hexdigest()
    document = {"tool": arguments.tool.name, "tool_sha256": tool, "results": results}
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
