"""Loads a `.pte` for tests: ExecuTorch's own MLX runtime where there is one, else the Runner.

The branch for macOS is untested: no Mac was at hand when it was written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx

from backends.mlx.runner.convert import to_mx
from backends.mlx.runner.runner import Runner


def load(path: str | Path, method: str = "forward") -> Callable[..., list]:
    """A callable that runs `method`: tensors and ints in, a list of mx.arrays and ints out."""
    return _load_executorch(path, method) or Runner(path, method)


def _load_executorch(path: str | Path, method: str) -> Callable[..., list] | None:
    if sys.platform != "darwin":
        return None
    try:
        from executorch.runtime import Runtime
    except ImportError:
        return None
    runtime = Runtime.get()
    if "MLXBackend" not in runtime.backend_registry.registered_backend_names:
        return None
    # The method borrows the program's memory; the closure keeps both.
    program = runtime.load_program(str(path))
    loaded = program.load_method(method)

    def run(*inputs) -> list:
        outputs = loaded.execute([_to_torch(value) for value in inputs])
        keep_ints = (int, bool)
        return [
            output if isinstance(output, keep_ints) else to_mx(output, "output")
            for output in outputs
        ]

    run.program = program
    return run


def _to_torch(value):
    import numpy as np
    import torch

    if isinstance(value, mx.array) and value.dtype == mx.bfloat16:
        return torch.from_numpy(np.array(value.view(mx.int16))).view(torch.bfloat16)
    if isinstance(value, (mx.array, np.ndarray)):
        return torch.from_numpy(np.array(value))
    return value
