"""Plants faults in kernels, and checks what the checker says of them."""

from __future__ import annotations

import mlx.core as mx
import pytest

from backends.mlx import metal

BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"
X = mx.arange(8, dtype=mx.float32)
A = mx.random.normal((24, 40)).astype(mx.float16)
B = mx.random.normal((40, 23)).astype(mx.float16)


def fault_of(run, unchecked=None) -> metal.CheckError:
    """The fault `run` shows under the checker; without it there must be none.

    unchecked: what to run without it, where stray stores need a larger output to land in.
    """
    try:
        (unchecked or run)()
    except metal.CheckError as error:
        raise AssertionError("the fault was reported with the checker off") from error
    except metal.KernelError:
        pass  # a deadlock stops a fast run too, as it hangs a GPU
    with pytest.raises(metal.CheckError) as caught, metal.checked():
        run()
    return caught.value


def planted(source: str, inputs=None, outputs=8, grid=8, threadgroup=None, header=""):
    """A call of a kernel written for one fault: `out` has `outputs` floats."""
    inputs = {} if inputs is None else inputs
    kernel = metal.metal_kernel("planted", list(inputs), ["out"], source, header)
    return lambda: kernel(
        inputs=list(inputs.values()),
        output_shapes=[(outputs,)],
        output_dtypes=[mx.float32],
        grid=(grid, 1, 1),
        threadgroup=(threadgroup or grid, 1, 1),
    )


def check(fault, kind, source, buffer, *, thread=True):
    """The report is complete, and all of it is in the message."""
    assert fault.kind == kind
    assert source in fault.source
    assert fault.buffer == buffer
    message = str(fault)
    assert fault.kernel in message and fault.kernel.startswith("custom_kernel_")
    assert f"line {fault.line}" in message and source in message
    if buffer:
        assert f"'{buffer}'" in message
    if thread:
        assert fault.thread is not None and fault.threadgroup is not None
        assert f"thread {fault.thread}" in message
