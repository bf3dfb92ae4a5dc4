"""Our kernels against mx.quantized_matmul, through MLX itself. One command for a Mac:

    bazel run //backends/mlx/gguf:bench [-- --types Q4_K --rows 1 8 --dtype float16]

Both sides compute with the same weights (MLX's: requantized to as many bits, groups of 32), in one
process, in turns; weights rotate beyond the caches. On Linux it runs too, on the CPU with small
shapes: that shows that it works, and no more. Compare only the ratios of one run.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import mlx.core as mx
import numpy as np

from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from bench import data

ON_GPU = mx.metal.is_available()
SHAPES = ((128256, 4096), (4096, 14336), (4096, 4096), (14336, 4096)) if ON_GPU else ((512, 1024),)
ROWS = (1, 2, 4, 8, 16, 512) if ON_GPU else (1, 2, 8, 32)
GROUP = 32
ROTATED_BYTES = 400 << 20 if ON_GPU else 0
SECONDS = 0.2 if ON_GPU else 0.0  # of each measurement


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--types", nargs="*", default=list(formats.FORMATS))
    parser.add_argument("--rows", nargs="*", type=int, default=list(ROWS))
    parser.add_argument("--shapes", nargs="*", default=[f"{n}x{k}" for n, k in SHAPES])
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"))
    arguments = parser.parse_args()
    where = mx.device_info().get("device_name", "GPU") if ON_GPU else "the CPU, not a measurement"
    print(f"{platform.machine()}, {where}, MLX {mx.__version__}, {arguments.dtype}")
    print(
        f"{'type':8} {'M':>4} {'N x K':>15} {'ours, us':>10} {'MLX, us':>10} {'MLX / ours':>10}"
        f" {'GB/s':>6} {'error / allowed':>15}"
    )
    for shape in arguments.shapes:
        outputs, columns = map(int, shape.split("x"))
        for type_name in arguments.types:
            for rows in arguments.rows:
                race(type_name, rows, outputs, columns, arguments.dtype)


def race(type_name: str, rows: int, outputs: int, columns: int, dtype: str) -> dict:
    """Measures one row of the table, prints and returns it."""
    fmt = formats.get(type_name)
    matrix = data.gguf_matrix(fmt.name, columns)
    x = data.activations("zero-mean", rows, columns, dtype)
    count = ROTATED_BYTES // (outputs * fmt.row_bytes(columns)) + 1
    ours = our_call(fmt, x, matrix, outputs, count, dtype)
    theirs = mlx_call(fmt, x, outputs, columns, count, dtype)
    error = worst_error(ours(0), matrix, x, dtype)
    our_time, mlx_time = alternate(ours, theirs, count)
    rate = outputs * fmt.row_bytes(columns) / our_time / 1e9
    print(
        f"{fmt.name:8} {rows:4} {f'{outputs} x {columns}':>15} {our_time * 1e6:10.1f}"
        f" {mlx_time * 1e6:10.1f} {mlx_time / our_time:10.2f} {rate:6.1f} {error:15.2g}"
        + ("" if error <= 1 else "  WRONG"),
        flush=True,
    )
    return {"type": fmt.name, "rows": rows, "ours": our_time, "mlx": mlx_time, "error": error}


def our_call(fmt, x: mx.array, matrix: data.Matrix, outputs: int, count: int, dtype: str):
    """A function of n that computes with copy n of the weights."""
    rows, columns = x.shape
    operation = kernels.for_rows(rows)
    kernel = kernels.linear(fmt, operation, dtype, dtype, outputs)
    run = metal.metal_kernel(
        name=kernel.name,
        input_names=list(kernel.input_names),
        output_names=list(kernel.output_names),
        source=kernel.source,
        header=kernel.header,
    )
    template = [(n, getattr(mx, v) if isinstance(v, str) else v) for n, v in kernel.template]
    blocks = dict(matrix.parts)["weight"]
    weights = [mx.array(repeated(blocks, outputs)) for _ in range(count)]
    mx.eval(weights)
    launch = kernel.launch
    return lambda n: run(
        inputs=[x, weights[n]],
        template=template,
        grid=launch.grid(outputs, rows),
        threadgroup=launch.threadgroup,
        output_shapes=[(rows, outputs)],
        output_dtypes=[x.dtype],
    )[0]


def mlx_call(fmt, x: mx.array, outputs: int, columns: int, count: int, dtype: str):
    bits = data.mlx_bits(fmt.name)
    parts = data.affine_matrix(fmt.name, columns, bits, GROUP, dtype).parts
    types = (mx.uint32, getattr(mx, dtype), getattr(mx, dtype))
    copies = [
        [
            mx.array(repeated(rows, outputs)).view(t)
            for (_, rows), t in zip(parts, types, strict=True)
        ]
        for _ in range(count)
    ]
    mx.eval(copies)

    def call(n: int) -> mx.array:
        packed, scales, biases = copies[n]
        return mx.quantized_matmul(
            x, packed, scales, biases, transpose=True, group_size=GROUP, bits=bits
        )

    return call


def repeated(rows: np.ndarray, count: int) -> np.ndarray:
    return np.resize(rows, (count, rows.shape[1]))


def worst_error(out: mx.array, matrix: data.Matrix, x: mx.array, dtype: str) -> float:
    """The largest error in units of what the accuracy rule allows (`formats.linear_bound`)."""
    exact, bound = data.exact_results(matrix, x, dtype)
    outputs = out.shape[1]
    found = np.array(out.astype(mx.float32)).astype(np.float64)

    def repeat(values):
        return np.resize(values.T, (outputs, len(values))).T

    return float((np.abs(found - repeat(exact)) / repeat(bound)).max())


def alternate(ours: Callable, theirs: Callable, count: int) -> tuple[float, float]:
    """Median seconds of one call of each, measured in turns."""
    times: tuple[list, list] = ([], [])
    for _turn in range(5 if ON_GPU else 1):
        for call, measured in zip((ours, theirs), times, strict=True):
            measured.append(seconds(call, count))
    return statistics.median(times[0]), statistics.median(times[1])


def seconds(call: Callable, count: int) -> float:
    """Seconds of one call, over as many as take about SECONDS, evaluated together."""
    calls = count
    while True:
        start = time.perf_counter()
        mx.eval([call(n % count) for n in range(calls)])
        elapsed = time.perf_counter() - start
        if elapsed >= SECONDS:
            return elapsed / calls
        calls *= 2


if __name__ == "__main__":
    main()
