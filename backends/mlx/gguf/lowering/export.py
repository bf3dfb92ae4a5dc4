"""From an `nn.Module` with GGUF weights to a `.pte` for ExecuTorch's MLX backend.

The weights of a model are views of its mapped file, and are written from there: ExecuTorch's store
of named data would hold a copy of each in memory until all is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from executorch.backends.mlx.partitioner import MLXPartitioner
from executorch.exir import (
    EdgeCompileConfig,
    EdgeProgramManager,
    ExecutorchBackendConfig,
    to_edge_transform_and_lower,
)
from executorch.exir._serialize import _named_data_store
from executorch.exir._serialize._cord import FileBackedData
from torch.export import ExportedProgram

from backends.mlx.common.errors import InputError
from backends.mlx.common.files import written_whole
from backends.mlx.gguf import formats
from backends.mlx.gguf.lowering import handlers
from backends.mlx.gguf.lowering.match import weights
from backends.mlx.gguf.lowering.mode import AffineDtype, Mode, use_mode

# Of Apple's processors. MLX takes mapped memory that starts at a page, and copies other memory.
PAGE_BYTES = 16384


class LoweringError(InputError):
    """A program whose GGUF weights the MLX backend did not take."""


def export_module(
    module: torch.nn.Module,
    example_inputs: tuple[Any, ...],
    path: str | os.PathLike | None = None,
    *,
    mode: Mode | str | None = None,
    affine_dtype: AffineDtype | str | None = None,
    example_kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    strict: bool = True,
    constant_methods: Mapping[str, Any] | None = None,
    named_data: Mapping[str, bytes] | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> bytes | Path:
    """Exports `module` and lowers it to MLX.

    Args:
        module: its GGUF weights are `GGUFTensor`s, or `mlx_gguf::dequantize` of a buffer.
        example_inputs, example_kwargs, dynamic_shapes, strict: as for `torch.export.export`.
        path: where to write the `.pte`. After an error there is no file, or the one that was there
            before.
        mode, affine_dtype: see `mode.use_mode`.
        constant_methods: methods of the program that return a value: its facts for a runtime.
        named_data: further contents of the `.pte`, which a runtime finds by name.
        on_stage: called with a word for each stage of the work as it begins.

    Returns:
        The bytes of the `.pte`, or `path` if that is given.

    Raises:
        LoweringError: a GGUF weight was not taken by the MLX delegate.
        InputError: the mode is none, or a repacked weight is beyond what the dtype can hold.
        OSError: `path` cannot be written.
    """
    handlers.register()
    with use_mode(mode, affine_dtype=affine_dtype), torch.no_grad(), without_copies():
        on_stage("tracing")
        exported = torch.export.export(
            module,
            example_inputs,
            dict(example_kwargs or {}),
            dynamic_shapes=dynamic_shapes,
            strict=strict,
        )
        split_shared_weights(exported)
        on_stage("lowering")
        edge = to_edge_transform_and_lower(
            exported,
            partitioner=[MLXPartitioner()],
            # ExecuTorch's check of the program takes the first size of what a `split` or `chunk`
            # returns as an integer, which makes a dynamic size static.
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
            constant_methods=dict(constant_methods or {}),
        )
        check_delegated(edge)
        for name, data in (named_data or {}).items():
            # ExecuTorch lets a program carry named data, but only backends add to it publicly.
            edge._named_data_store.add_named_data(name, data)
        on_stage("serializing")
        program = edge.to_executorch(ExecutorchBackendConfig(segment_alignment=PAGE_BYTES))
    if path is None:
        return program.buffer
    on_stage("writing")
    path = Path(path)
    with written_whole(path) as partial, partial.open("wb") as file:
        program.write_to_file(file)
    return path


def split_shared_weights(program: ExportedProgram) -> None:
    """Gives each user of a decoded weight a dequantize node of its own, in place.

    The handlers take a shared node where its users go to one delegate. Where an operator that MLX
    has not lies between them, each delegate needs its own; the blocks are stored once all the same.
    """
    graph = program.graph
    # Views before what they are of: each copy of a view then is one more user of that.
    for node in reversed(list(graph.nodes)):
        if weights.is_decoded(node):
            for user in list(node.users)[1:]:
                with graph.inserting_before(user):
                    user.replace_input_with(node, graph.node_copy(node))
    program.graph_module.recompile()


def check_delegated(edge: EdgeProgramManager) -> None:
    """Raises LoweringError if a method still decodes GGUF blocks outside a delegate."""
    left = [
        f"{method}: {weights.tensor_name(program, node.args[0])} ({node.args[1]})"
        for method in sorted(edge.methods)
        for program in [edge.exported_program(method)]
        for node in program.graph.nodes
        if weights.is_dequantize(node)
    ]
    if left:
        raise LoweringError(
            f"expected GGUF weights of type {', '.join(formats.FORMATS)} in linears, embeddings "
            f"and products with experts that MLX takes, found {', '.join(left)}"
        )


class TensorData(FileBackedData):
    """The bytes of a contiguous tensor on the CPU, read when they are needed."""

    def __init__(self, tensor: torch.Tensor):
        # Of the base class only the interface: there is no file of its own.
        self._bytes = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
        self._sha256: bytes | None = None

    def __len__(self) -> int:
        return self._bytes.nbytes

    def prefix(self, size: int) -> bytes:
        return bytes(self._bytes[:size])

    def sha256(self) -> bytes:
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self._bytes).digest()
        return self._sha256

    def to_bytes(self) -> bytes:
        return bytes(self._bytes)

    def write_to_file(self, outfile: io.BufferedIOBase) -> None:
        outfile.write(self._bytes)

    def close(self) -> None:
        """Nothing to close."""


@contextlib.contextmanager
def without_copies() -> Iterator[None]:
    """Within it, tensors added to a store of named data are not copied.

    The store takes data that can write itself, but ExecuTorch's MLX backend gives it tensors.
    """
    copy = _named_data_store._tensor_to_bytes

    def keep(tensor: torch.Tensor) -> bytes | TensorData:
        if tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.numel():
            return TensorData(tensor)
        return copy(tensor)

    _named_data_store._tensor_to_bytes = keep
    try:
        yield
    finally:
        _named_data_store._tensor_to_bytes = copy
