"""The threads that fast runs share: launches from several threads at once, and after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal

SOURCE = """
    threadgroup float partial[2];
    const float sum = simd_sum(float(x[thread_position_in_grid.x]));
    if (thread_index_in_simdgroup == 0) partial[simdgroup_index_in_threadgroup] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[thread_position_in_grid.x] = partial[0] + partial[1];
"""
X = np.arange(64 * 200, dtype=np.float32) % 7
EXPECTED = np.repeat(X.reshape(200, 64).sum(1), 64)


def sums() -> np.ndarray:
    kernel = metal.metal_kernel("group_sums", ["x"], ["out"], SOURCE)
    (out,) = kernel(
        inputs=[X],
        output_shapes=[X.shape],
        output_dtypes=[mx.float32],
        grid=(X.size, 1, 1),
        threadgroup=(64, 1, 1),
    )
    return np.array(out)


@pytest.mark.parametrize("workers", ["1", "2", "5"])
def test_launches_from_several_threads(workers, monkeypatch):
    monkeypatch.setenv("MLX_GGUF_METAL_THREADS", workers)
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(sums(), EXPECTED):
                wrong.append(threading.current_thread().name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_child_has_threads_of_its_own():
    # In a process of its own, which forks without pytest's threads around.
    script = (
        "import os, numpy as np; from backends.mlx.metal.tests import workers_test as t\n"
        "assert np.array_equal(t.sums(), t.EXPECTED)\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if np.array_equal(t.sums(), t.EXPECTED) else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MLX_GGUF_METAL_THREADS": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
