"""The stacks of a checked run's threads: what lies between them, and how many maps that takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import mlx.core as mx

from backends.mlx import metal
from backends.mlx.metal.tests.testing import row_sum

# One element of the array is touched, which lies below the thread's stack of 64 KiB.
HEADER = """
    __attribute__((noinline)) float large(uint i) {
        volatile float array[24 << 10];
        array[i] = 1.0f;
        return array[i];
    }
"""
SOURCE = """
    uint i = thread_position_in_grid.x;
    simdgroup_barrier(mem_flags::mem_none);  // all stacks are there
    out[i] = i == 7 ? large(uint(x[i])) : 0.0f;
"""


def large_array() -> None:
    kernel = metal.metal_kernel("large_array", ["x"], ["out"], SOURCE, HEADER)
    with metal.checked():
        kernel(
            inputs=[mx.zeros((8,))],
            output_shapes=[(8,)],
            output_dtypes=[mx.float32],
            grid=(8, 1, 1),
            threadgroup=(8, 1, 1),
        )


def test_an_array_larger_than_the_stack_ends_the_process():
    # The compiler's own accesses pass no check: only a guard page keeps them off other stacks.
    script = "from backends.mlx.metal.tests import stacks_test as t; t.large_array(); print('ran')"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, ""), done.stderr


def memory_maps() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_libraries_share_guarded_stacks():
    # Two maps a stack: a process may have 65530, and a library holds as few as one kernel.
    counts = []
    for dtype in (mx.float32, mx.float16):
        with metal.checked():
            row_sum(mx.ones((2, 2048), dtype), threads=1024)
        counts.append(memory_maps())
    assert counts[0] > 2048 and counts[1] < counts[0] + 100
