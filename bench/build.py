"""Builds the GPU benchmark: CUDA sources, the plan, the data file, one binary."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from backends.mlx.gguf import kernels
from backends.mlx.metal.cuda import INCLUDE_DIRS
from bench import data, executorch_rival, mlx_rival
from bench.launch import Buffer, Case, Launch, ours, trials

_GPU = Path(__file__).parent / "gpu"
# Contraction into FMAs stays on, nvcc's default: the rivals' a * b + c profits, ours say fma().
_NVCC = ["-std=c++17", "-O3", "-arch=sm_90", "--expt-relaxed-constexpr"]
# always_inline on functions that are not inline; comparisons of template arguments; names that
# are unused or, in code that an `if` on template arguments removes, unset.
_QUIET = ["-diag-suppress", "2473,186,177,549"]


def build(
    cases: list[Case],
    out: Path,
    nvcc: str = "nvcc",
    jobs: int = 2,
    tunings: list[dict] = (),
    rivals: bool = True,
) -> list[Path]:
    """Makes `gpu_bench` and `gpu_bench.data` in `out`. Objects are kept there by content.

    tunings: see `launch.trials`. rivals: whether the others' kernels take part.
    """
    contenders = [[ours(case), *trials(case, tunings)] for case in cases]
    if rivals:
        for case, launches in zip(cases, contenders, strict=True):
            launches += [*executorch_rival.launches(case), *mlx_rival.launches(case)]
    objects = out / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    (out / ".gitignore").write_text("*\n")
    with data.DataFile(out / "gpu_bench.data") as file:
        plan = _plan(cases, contenders, file)
    (out / "plan.cpp").write_text(plan)
    sources = {}
    for launch in itertools.chain.from_iterable(contenders):
        sources.setdefault((launch.source + _getter(launch.symbol), launch.defines))
    headers = hashlib.sha256()
    for folder in (*INCLUDE_DIRS[:2], _GPU):
        for header in sorted(folder.glob("*.h")):
            headers.update(header.read_bytes())
    includes = [f"-I{folder}" for folder in (*INCLUDE_DIRS, _GPU)]

    def compile_one(text: str, suffix: str, options: list[str]) -> Path:
        digest = headers.copy()
        digest.update("\0".join([text, nvcc, *options, *_NVCC]).encode())
        name = digest.hexdigest()[:24]
        compiled = objects / f"{name}.o"
        if not compiled.exists():
            source = objects / f"{name}{suffix}"
            source.write_text(text)
            run = subprocess.run(
                [nvcc, *_NVCC, *_QUIET, *includes, *options, "-c", source, "-o", compiled],
                capture_output=True,
                text=True,
            )
            if run.returncode:
                raise RuntimeError(f"{source}: {run.stderr[-3000:]}")
        return compiled

    with ThreadPoolExecutor(jobs) as pool:
        tasks = [
            pool.submit(compile_one, text, ".cu", [f"-D{name}" for name in defines])
            for text, defines in sources
        ]
        tasks += [
            pool.submit(compile_one, (_GPU / name).read_text(), ".cu", [])
            for name in ("harness.cu", "timing.cu")
        ]
        tasks.append(pool.submit(compile_one, plan, ".cpp", []))
        compiled = [task.result() for task in tasks]
    # To link on another machine.
    (out / "objects.txt").write_text("".join(f"{path}\n" for path in compiled))
    binary = out / "gpu_bench"
    # The machine with the GPU may have other C++ libraries.
    static = ["-cudart", "static", "-Xcompiler", "-static-libstdc++,-static-libgcc"]
    subprocess.run([nvcc, "-arch=sm_90", *static, *compiled, "-o", binary], check=True)
    return [binary, out / "gpu_bench.data"]


def _getter(symbol: str) -> str:
    return f'\nextern "C" const void* get_{symbol}() {{ return (const void*)&{symbol}; }}\n'


def _plan(cases: list[Case], contenders: list[list[Launch]], file: data.DataFile) -> str:
    most_rows = {}
    for case in cases:
        key = (case.columns, case.dtype)
        most_rows[key] = max(case.rows, most_rows.get(key, 1))
    body = ",\n".join(
        _case(case, launches, most_rows[case.columns, case.dtype], file)
        for case, launches in zip(cases, contenders, strict=True)
    )
    symbols = sorted({launch.symbol for launch in itertools.chain.from_iterable(contenders)})
    declarations = "".join(f'extern "C" const void* get_{s}();\n' for s in symbols)
    return f"""\
#include "plan.h"
{declarations}
const Case kCases[] = {{
{body}
}};
const int kCaseCount = {len(cases)};
"""


def _case(case: Case, launches: list[Launch], most_rows: int, file: data.DataFile) -> str:
    matrices = [
        data.gguf_matrix(case.type_name, case.columns),
        data.affine_matrix(
            case.type_name, case.columns, data.mlx_bits(case.type_name), mlx_rival.GROUP, case.dtype
        ),
    ]
    kinds = []
    for kind in data.KINDS:
        # The same rows of x for every case: smaller ones read the first.
        x = data.activations(kind, most_rows, case.columns, case.dtype)
        results = [data.exact_results(matrix, x, case.dtype) for matrix in matrices]
        exact, bounds = zip(*results, strict=True)
        kinds.append(
            f'{{"{kind}", {_blob(file.add(data.as_bytes(x)))}, '
            f"{{{', '.join(_blob(file.add(e)) for e in exact)}}}, "
            f"{{{', '.join(_blob(file.add(b)) for b in bounds)}}}}}"
        )
    operation = kernels.for_rows(case.rows)
    return (
        f'{{"{case.type_name}", "{case.dtype}", "{operation}", {case.rows}, {case.outputs}, '
        f"{case.columns},\n {{{', '.join(_matrix(m, file) for m in matrices)}}},\n"
        f" {{{', '.join(kinds)}}},\n {len(launches)}, {{\n  "
        + ",\n  ".join(_launch(launch, matrices) for launch in launches)
        + "}}"
    )


def _blob(place: tuple[int, int]) -> str:
    return f"{{{place[0]}u, {place[1]}u}}"


def _matrix(matrix: data.Matrix, file: data.DataFile) -> str:
    names = ", ".join(f'"{name}"' for name, _ in matrix.parts)
    blobs = ", ".join(_blob(file.add(rows)) for _, rows in matrix.parts)
    sizes = ", ".join(str(rows.shape[1]) for _, rows in matrix.parts)
    return f'{{"{matrix.name}", {len(matrix.parts)}, {{{names}}}, {{{blobs}}}, {{{sizes}}}}}'


def _launch(launch: Launch, matrices: list[data.Matrix]) -> str:
    index = [matrix.name for matrix in matrices].index(launch.matrix)
    parts = [name for name, _ in matrices[index].parts]
    arguments = []
    for argument in launch.arguments:
        if not isinstance(argument, Buffer):
            kind = "INTS" if argument.ctype == "int" else "LONGS"
            values = ", ".join(map(str, argument.values))
            arguments.append(f"{{Argument::{kind}, 0, {{{values}}}}}")
        elif argument.name in ("x", "out"):
            arguments.append(f"{{Argument::{argument.name.upper()}, 0, {{}}}}")
        else:
            arguments.append(f"{{Argument::PART, {parts.index(argument.name)}, {{}}}}")

    def size(sizes):
        return ", ".join(map(str, sizes))

    return (
        f'{{"{launch.contender}", get_{launch.symbol}, {{{size(launch.grid)}}}, '
        f"{{{size(launch.threadgroup)}}}, {index}, {len(arguments)}, {{{', '.join(arguments)}}}}}"
    )
