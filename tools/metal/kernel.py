"""The Python face: `metal_kernel` with mx.fast.metal_kernel's signature, and `checked`."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import dataclasses
from typing import Iterator, Sequence

import mlx.core as mx
import numpy as np

from tools.metal import runtime
from tools.metal.unit import Unit

_MAX_THREADS = 1024


@dataclasses.dataclass
class Report:
    """What a checked() block ran.

    keys: Unit.key of each unit. launches: number of calls. bytes_read: by name of the input or
    output, the bytes of all loads from it, counted each time they are read.
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
    Raises RuntimeError on a machine with Metal, where kernels run on the GPU.
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
        """The unit a call with these arguments compiles."""
        self._expect("inputs", inputs, self.input_names)
        self._expect("output_dtypes", output_dtypes, self.output_names)
        arrays = [_as_array(value) for value in inputs]
        types = tuple((_dtype_name(a.dtype), tuple(a.shape)) for a in arrays)
        outputs = tuple(map(_dtype_name, output_dtypes))
        arguments = tuple(
            (name, _dtype_name(value) if isinstance(value, mx.Dtype) else value)
            for name, value in template or ()
        )
        # True == 1, but they are template arguments of different kinds.
        kinds = tuple(type(value) for _, value in arguments)
        key = (types, outputs, arguments, kinds)
        if key not in self._units:
            self._units[key] = Unit(
                name=self.name,
                header=self.header,
                source=self.source,
                inputs=tuple((n, *t) for n, t in zip(self.input_names, types)),
                outputs=tuple(zip(self.output_names, outputs)),
                template=arguments,
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

        inputs: mx.array, numpy arrays (not copied when row-contiguous) or scalars. Raises
        ValueError for wrong arguments, CheckError inside checked(). `stream` is not used.
        """
        self._expect("output_shapes", output_shapes, self.output_names)
        self._check_sizes(grid, threadgroup)
        arrays = [_as_array(value) for value in inputs]
        unit = self.unit(arrays, output_dtypes, template)
        if verbose:
            print(f"Generated source code for `{self.name}`:\n```\n{unit.text}\n```")
        views = [_as_numpy(array, self.ensure_row_contiguous) for array in arrays]
        outputs = [
            _output(shape, dtype, init_value) for shape, dtype in zip(output_shapes, output_dtypes)
        ]
        report = _report.get()
        if report is not None:
            report.keys.add(unit.key)
            report.launches += 1
        _launch(unit, views, outputs, init_value, grid, threadgroup, report)
        return [_to_mlx(o, d) for o, d in zip(outputs, output_dtypes)]

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
        threads = int(np.prod(threadgroup, dtype=np.int64))
        if threads > _MAX_THREADS:
            raise ValueError(
                f"kernel {self.name}: threadgroup {tuple(threadgroup)} has {threads} threads, "
                f"Metal allows {_MAX_THREADS}"
            )


if mx.metal.is_available():
    metal_kernel = mx.fast.metal_kernel
else:
    metal_kernel = HostKernel


def _launch(unit, views, outputs, init_value, grid, threadgroup, report) -> None:
    inputs = dict(zip((name for name, _, _ in unit.inputs), views))
    results = dict(zip((name for name, _ in unit.outputs), outputs))
    keep = []  # small arrays that must live until the kernel has run
    buffers = []
    for parameter in unit.parameters:
        name = parameter.name
        role = runtime.INPUT
        if parameter.role == "output":
            array = results[name]
            role = runtime.OUTPUT if init_value is None else runtime.INITIALISED_OUTPUT
        elif parameter.role == "input":
            array = inputs[name]
        else:
            array = _layout(inputs[name], parameter.role)
            name = f"{name}_{parameter.role}"
        keep.append(array)
        buffers.append(runtime.Buffer(name, array.ctypes.data, _extent(array), role))
    arguments = {} if report is None or report.threadgroups is None else {
        "threadgroups": report.threadgroups
    }
    bytes_read = runtime.run(
        unit,
        buffers,
        tuple(map(int, grid)),
        tuple(map(int, threadgroup)),
        checked=report is not None,
        **arguments,
    )
    if report is not None:
        report.bytes_read.update(bytes_read)


def _layout(array: np.ndarray, role: str) -> np.ndarray:
    if role == "shape":
        return np.array(array.shape, np.int32)
    if role == "strides":
        return np.array([s // array.itemsize for s in array.strides], np.int64)
    return np.array([array.ndim], np.int32)


def _extent(array: np.ndarray) -> int:
    """Bytes from an array's first element to the end of its last."""
    if array.size == 0:
        return 0
    return sum((n - 1) * s for n, s in zip(array.shape, array.strides)) + array.itemsize


def _as_array(value):
    if isinstance(value, (mx.array, np.ndarray)):
        return value
    return mx.array(value)


def _dtype_name(dtype) -> str:
    return str(dtype).removeprefix("mlx.core.").removesuffix("_")


def _as_numpy(array, row_contiguous: bool) -> np.ndarray:
    """A numpy view of the elements' memory; bfloat16 shows as uint16. Copies only to reorder."""
    if isinstance(array, mx.array):
        if row_contiguous:
            array = mx.contiguous(array)
        mx.eval(array)
        if array.dtype == mx.bfloat16:
            array = array.view(mx.uint16)
        array = np.asarray(memoryview(array))
    if row_contiguous:
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)
    return array


def _output(shape: Sequence[int], dtype: mx.Dtype, init_value: float | None) -> np.ndarray:
    name = _dtype_name(dtype)
    shape = tuple(int(n) for n in shape)
    if init_value is not None:
        filled = mx.full(shape, init_value, dtype=dtype)
        return np.array(_as_numpy(filled, True))
    result = np.empty(shape, np.uint16 if name == "bfloat16" else name)
    # What a kernel leaves unwritten must not look like a result: NaN in every float type.
    result.reshape(-1).view(np.uint8).fill(0xFF)
    return result


def _to_mlx(array: np.ndarray, dtype: mx.Dtype) -> mx.array:
    result = mx.array(array)
    return result.view(mx.bfloat16) if dtype == mx.bfloat16 else result
