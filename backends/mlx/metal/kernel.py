"""`metal_kernel`, called like mx.fast.metal_kernel's kernels, and `checked`."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import ctypes
import dataclasses
from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np

from backends.mlx.common.dtypes import dtype_name
from backends.mlx.metal import libraries, memory
from backends.mlx.metal.text.unit import CONSTANT_BELOW, Unit

_MAX_THREADS = 1024


@dataclasses.dataclass
class Report:
    """What a checked() block ran.

    keys: Unit.key of each unit. launches: number of calls. bytes_read: by name of the input or
    output, the bytes of all loads from it, counted each time they are read. threadgroups: those
    that run, as given to checked().
    """

    keys: set[str] = dataclasses.field(default_factory=set)
    launches: int = 0
    bytes_read: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    threadgroups: tuple[int, int] | None = None


_report: contextvars.ContextVar[Report | None] = contextvars.ContextVar("report", default=None)


@contextlib.contextmanager
def checked(threadgroups: tuple[int, int] | None = None) -> Iterator[Report]:
    """Kernel calls inside run under the checker; a fault raises CheckError. Yields a Report.

    threadgroups: run only those with linear index in [first, last) of each grid, for kernels
    whose whole grid is too large to check; outputs are then not checked for being complete.

    Raises:
        RuntimeError: the machine has Metal, where kernels run on the GPU.
    """
    if mx.metal.is_available():
        raise RuntimeError("checked(): the checker runs kernels on a host without Metal (Linux)")
    report = Report(threadgroups=threadgroups)
    token = _report.set(report)
    try:
        yield report
    finally:
        _report.reset(token)


class HostKernel:
    """What metal_kernel returns on a machine without Metal. Called like MLX's kernels."""

    def __init__(
        self,
        name: str,
        input_names: Sequence[str],
        output_names: Sequence[str],
        source: str,
        header: str = "",
        ensure_row_contiguous: bool = True,
        atomic_outputs: bool = False,
        compile_options: dict | None = None,
    ):
        # compile_options can only loosen the math; the host always computes as in safe mode.
        self.name = name
        self.input_names = list(input_names)
        self.output_names = list(output_names)
        self.source = source
        self.header = header
        self.ensure_row_contiguous = ensure_row_contiguous
        self.atomic_outputs = atomic_outputs
        self._units: dict[tuple, Unit] = {}
        if not self.output_names:
            raise ValueError(f"kernel {name}: expected at least one output")

    def unit(self, inputs: Sequence, output_dtypes: Sequence[mx.Dtype], template=None) -> Unit:
        """The unit that a call with these arguments compiles.

        Raises:
            ValueError: wrong arguments.
        """
        self._expect("inputs", inputs, self.input_names)
        self._expect("output_dtypes", output_dtypes, self.output_names)
        arrays = [_as_array(value) for value in inputs]
        arguments = tuple(map(tuple, template or ()))
        # All that a unit depends on. True == 1, but they are template arguments of two kinds.
        key = (
            tuple((a.dtype, a.size < CONSTANT_BELOW, a.ndim == 0) for a in arrays),
            tuple(output_dtypes),
            arguments,
            tuple(type(value) for _, value in arguments),
        )
        if key not in self._units:
            self._units[key] = Unit(
                name=self.name,
                header=self.header,
                source=self.source,
                inputs=tuple(
                    (name, dtype_name(a.dtype), tuple(a.shape))
                    for name, a in zip(self.input_names, arrays, strict=True)
                ),
                outputs=tuple(zip(self.output_names, map(dtype_name, output_dtypes), strict=True)),
                template=tuple(
                    (name, dtype_name(value) if isinstance(value, mx.Dtype) else value)
                    for name, value in arguments
                ),
                atomic_outputs=self.atomic_outputs,
            )
        return self._units[key]

    def __call__(
        self,
        *,
        inputs: Sequence,
        output_shapes: Sequence[Sequence[int]],
        output_dtypes: Sequence[mx.Dtype],
        grid: tuple[int, int, int],
        threadgroup: tuple[int, int, int],
        template: Sequence[tuple] | None = None,
        init_value: float | None = None,
        verbose: bool = False,
        stream=None,
    ) -> list[mx.array]:
        """Runs the kernel and returns its outputs.

        inputs: mx.array, numpy arrays (not copied when row-contiguous) or scalars. grid,
        threadgroup: threads in each of three dimensions. init_value: of all outputs before the
        run; without it they hold NaNs. `stream` is not used.

        Raises:
            ValueError: wrong arguments.
            CheckError: inside checked(), a fault that the checker finds.
            CompileError: the compiler refuses the kernel.
            KernelError: the kernel deadlocks or breaks a limit of Metal.
        """
        self._expect("output_shapes", output_shapes, self.output_names)
        self._check_sizes(grid, threadgroup)
        arrays = [_as_array(value) for value in inputs]
        unit = self.unit(arrays, output_dtypes, template)
        if verbose:
            print(f"Generated source code for `{self.name}`:\n```\n{unit.text}\n```")
        arrays = memory.evaluated(arrays, self.ensure_row_contiguous)
        outputs = [
            memory.output(tuple(map(int, shape)), dtype, init_value)
            for shape, dtype in zip(output_shapes, output_dtypes, strict=True)
        ]
        report = _report.get()
        if report:
            report.keys.add(unit.key)
            report.launches += 1
        bytes_read = libraries.run(
            unit,
            _buffers(unit, [*arrays, *outputs]),
            libraries.Threads(
                grid=(int(grid[0]), int(grid[1]), int(grid[2])),
                threadgroup=(int(threadgroup[0]), int(threadgroup[1]), int(threadgroup[2])),
                part=report.threadgroups if report else None,
            ),
            build="checked" if report else "fast",
            initialised=init_value is not None,
        )
        if report:
            report.bytes_read.update(bytes_read)
        return [memory.as_dtype(o, d) for o, d in zip(outputs, output_dtypes, strict=True)]

    def _expect(self, what: str, found: Sequence, names: list[str]) -> None:
        if len(found) != len(names):
            raise ValueError(
                f"kernel {self.name}: expected {len(names)} {what} ({', '.join(names)}), "
                f"found {len(found)}"
            )

    def _check_sizes(self, grid: tuple[int, ...], threadgroup: tuple[int, ...]) -> None:
        for what, sizes in (("grid", grid), ("threadgroup", threadgroup)):
            if len(sizes) != 3 or any(not 1 <= int(s) < 2**32 for s in sizes):
                raise ValueError(
                    f"kernel {self.name}: {what}: expected 3 positive sizes, found {tuple(sizes)}"
                )
        threads = int(threadgroup[0]) * int(threadgroup[1]) * int(threadgroup[2])
        if threads > _MAX_THREADS:
            raise ValueError(
                f"kernel {self.name}: threadgroup {tuple(threadgroup)} has {threads} threads, "
                f"Metal allows {_MAX_THREADS}"
            )


metal_kernel = mx.fast.metal_kernel if mx.metal.is_available() else HostKernel


def _buffers(unit: Unit, arrays: Sequence) -> list[tuple[int, int]]:
    """Address and bytes of each of the unit's parameters. arrays: inputs, then outputs."""
    named = dict(zip(unit.names, arrays, strict=True))
    buffers = []
    for parameter in unit.parameters:
        array = named[parameter.name]
        if parameter.role in ("input", "output"):
            buffers.append((memory.address(array), memory.extent(array)))
        else:
            numbers = _layout(array, parameter.role)
            buffers.append((ctypes.addressof(numbers), ctypes.sizeof(numbers)))
    return buffers


def _layout(array: mx.array | np.ndarray, role: str) -> ctypes.Array:
    # Kept by their caches: they outlive the run.
    if role == "shape":
        return memory.ints(tuple(array.shape), ctypes.c_int32)
    if role == "strides":
        view = memoryview(array)
        strides = tuple(s // view.itemsize for s in view.strides or ())
        return memory.ints(strides, ctypes.c_int64)
    return memory.ints((array.ndim,), ctypes.c_int32)


def _as_array(value):
    if isinstance(value, (mx.array, np.ndarray)):
        return value
    return mx.array(value)
