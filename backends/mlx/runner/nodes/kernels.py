"""MetalKernelNode: a custom Metal kernel, run on the GPU on a Mac and on the host elsewhere."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from backends.mlx.runner.dtypes import ScalarType, mx_dtype_name, scalar_type, scalar_type_named
from backends.mlx.runner.errors import ProgramError
from backends.mlx.runner.nodes.registry import node
from backends.mlx.runner.verify_kernel import (
    check_launch,
    check_operand_dtypes,
    output_shapes,
    template_arguments,
)


@node("MetalKernelNode")
def metal_kernel(run, n):
    inputs = [run.kernel_operand(slot) for slot in n.inputs]
    grid, threadgroup = run.integers(n.grid), run.integers(n.threadgroup)
    shapes = [run.integers(shape) for shape in output_shapes(n)]
    try:
        check_launch(grid, threadgroup)
        check_operand_dtypes(n, [_type_of(operand) for operand in inputs])
        if any(dim < 0 for shape in shapes for dim in shape):
            raise ProgramError("output shapes", "dimensions of 0 or more", shapes)
    except ProgramError as error:
        raise error.inside(f"kernel {n.name!r}") from None
    results = _compiled(run, n)(
        inputs=inputs,
        output_shapes=shapes,
        output_dtypes=[scalar_type(code, "output dtype").mlx for code in n.output_dtypes],
        grid=tuple(grid),
        threadgroup=tuple(threadgroup),
        template=[(name, _template_value(v)) for name, v in template_arguments(n).items()],
        init_value=n.init_value,
    )
    for slot, result in zip(n.outputs, results, strict=True):
        run.set(slot, result)


def _compiled(run, n):
    # Imported here: programs without custom kernels need no Metal runtime.
    from tools import metal

    key = ("kernel", id(n))
    if key not in run.cache:
        run.cache[key] = metal.metal_kernel(
            name=n.name,
            input_names=list(n.input_names),
            output_names=list(n.output_names),
            source=n.source,
            header=n.header or "",
            ensure_row_contiguous=n.ensure_row_contiguous,
            atomic_outputs=n.atomic_outputs,
        )
    return run.cache[key]


def _template_value(value):
    return value.mlx if isinstance(value, ScalarType) else value


def _type_of(operand: mx.array | np.ndarray) -> ScalarType:
    name = mx_dtype_name(operand.dtype) if isinstance(operand, mx.array) else operand.dtype.name
    return scalar_type_named(name, "operand dtype")
