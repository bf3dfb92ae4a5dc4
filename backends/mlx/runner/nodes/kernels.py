"""MetalKernelNode: a custom Metal kernel, run on the GPU on a Mac and on the host elsewhere."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from backends.mlx.common.dtypes import dtype_name
from backends.mlx.program.dtypes import ScalarType, scalar_type, scalar_type_named
from backends.mlx.program.errors import ProgramError
from backends.mlx.program.verify_kernel import (
    check_launch,
    check_operand_dtypes,
    output_shapes,
    template_arguments,
)
from backends.mlx.runner.registry import node


@node("MetalKernelNode")
def metal_kernel(run, n):
    kernel = run.prepared.get(id(n))
    if kernel is None:
        kernel = run.prepared[id(n)] = _Kernel(n)
    inputs = [run.kernel_operand(slot) for slot in n.inputs]
    grid, threadgroup = tuple(run.integers(n.grid)), tuple(run.integers(n.threadgroup))
    shapes = [tuple(run.integers(shape)) for shape in kernel.shapes]
    if run.rehearsal is not None:
        results = kernel.rehearse(run, inputs, shapes)
    else:
        kernel.check(inputs, grid, threadgroup, shapes)
        results = kernel.call(
            inputs=inputs,
            output_shapes=shapes,
            output_dtypes=kernel.output_dtypes,
            grid=grid,
            threadgroup=threadgroup,
            template=kernel.template,
            init_value=n.init_value,
        )
    for slot, result in zip(n.outputs, results, strict=True):
        run.set(slot, result)


class _Kernel:
    """A node's part that is the same in every call."""

    def __init__(self, n):
        # Imported here: programs without custom kernels need no Metal runtime.
        from backends.mlx import metal

        self.node = n
        self.shapes = output_shapes(n)
        self.output_dtypes = [scalar_type(code, "output dtype").mlx for code in n.output_dtypes]
        self.template = [
            (name, value.mlx if isinstance(value, ScalarType) else value)
            for name, value in template_arguments(n).items()
        ]
        self.call = metal.metal_kernel(
            name=n.name,
            input_names=list(n.input_names),
            output_names=list(n.output_names),
            source=n.source,
            header=n.header or "",
            ensure_row_contiguous=n.ensure_row_contiguous,
            atomic_outputs=n.atomic_outputs,
        )
        self._seen: set[tuple] = set()

    def check(self, inputs: list, grid: tuple, threadgroup: tuple, shapes: list[tuple]) -> None:
        """Raises ProgramError for sizes or dtypes that do not fit; each is looked at once."""
        key = (grid, threadgroup, *shapes, *(operand.dtype for operand in inputs))
        if key in self._seen:
            return
        try:
            check_launch(grid, threadgroup)
            check_operand_dtypes(self.node, [_type_of(operand) for operand in inputs])
            if any(dim < 0 for shape in shapes for dim in shape):
                raise ProgramError("output shapes", "dimensions of 0 or more", shapes)
        except ProgramError as error:
            raise error.inside(f"kernel {self.node.name!r}") from None
        self._seen.add(key)

    def rehearse(self, run, inputs: list, shapes: list[tuple]) -> list[mx.array]:
        """Adds the call's unit to the rehearsal and returns zeros of the outputs' shapes."""
        run.rehearsal.append(self.call.unit(inputs, self.output_dtypes, self.template))
        return [
            mx.zeros([max(dim, 0) for dim in shape], dtype)
            for shape, dtype in zip(shapes, self.output_dtypes, strict=True)
        ]


def _type_of(operand: mx.array | np.ndarray) -> ScalarType:
    return scalar_type_named(dtype_name(operand.dtype), "operand dtype")
