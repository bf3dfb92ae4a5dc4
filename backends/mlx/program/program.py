"""Maps a `.pte` file and takes it apart: header, segments, named data, methods, MLX graphs.

File layout (ExecuTorch's `extended_header.h` and `program.fbs`): a FlatBuffer with the identifier
`ET12`, into which an extended header is inserted at byte 8 (`eh00`, its length, the FlatBuffer's
size, the offset of the first segment and the size of all segments), then the segments. Constants
are segments with names; the MLX delegate's payload is a segment too. Nothing is copied.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backends.mlx.common.files import map_regular
from backends.mlx.overlay import schemas
from backends.mlx.program import flatbuffer, schema, verify
from backends.mlx.program.dtypes import ScalarType, scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.program.graph import Graph
from backends.mlx.program.method import Method

_SCHEMA = schema.parse(schemas.program_fbs())
_IDENTIFIER = b"ET12"
_HEADER_AT = 8
_HEADER_MAGIC = b"eh00"
_HEADER_BYTES = 32
_BACKEND = "MLXBackend"
# The MLX builder's constants; kernels' wide loads rely on it.
_CONSTANT_ALIGNMENT = 16
_IN_SEGMENT = _SCHEMA.enum_values["DataLocation"]["SEGMENT"]


@dataclass(frozen=True)
class Constant:
    """A named constant, mapped.

    Attributes:
      view: read-only numpy view of the file, of `type.storage` (uint16 for bfloat16).
      file_offset: where its bytes start in the file.
    """

    name: str
    shape: tuple[int, ...]
    type: ScalarType
    view: np.ndarray
    file_offset: int


class Program:
    """A checked `.pte` whose delegates are all MLX's.

    Attributes:
      path: the file.
      methods: the entry points by name; those of `constant_methods` have no graphs.
    """

    def __init__(self, path: str | Path):
        """Maps and checks the file. Raises ProgramError, one line that names it."""
        self.path = Path(path)
        self._constants: dict[str, Constant] = {}
        try:
            self._read()
        except ProgramError as error:
            raise error.at(self.path) from None

    def kernels(self) -> list:
        """All `MetalKernelNode` records, over every chain of every method."""
        return [node for node in self._nodes() if type(node).__name__ == "MetalKernelNode"]

    def node_counts(self) -> Counter:
        """How often each kind of node occurs, over every chain of every method."""
        return Counter(type(node).__name__ for node in self._nodes())

    def constants(self) -> dict[str, tuple[tuple[int, ...], str, int, int]]:
        """Every constant's (shape, dtype name, bytes, file offset), by name."""
        return {
            name: (item.shape, item.type.name, item.view.nbytes, item.file_offset)
            for name, item in self._constants.items()
        }

    def constant(self, name: str) -> Constant:
        """The constant called `name` (a key of `constants()`)."""
        return self._constants[name]

    def named_data(self) -> dict[str, memoryview]:
        """The contents that the file holds by name beside the constants: read-only views of it."""
        return {
            name: self._segment(index)[1]
            for name, index in self._named_data.items()
            if name not in self._constants
        }

    def constant_methods(self) -> dict[str, int | float | bool | str | list]:
        """What the methods return that compute nothing, by name."""
        return dict(self._constant_methods)

    def _nodes(self):
        for method in self.methods.values():
            for graph in method.graphs:
                for chain in graph.chains:
                    yield from chain

    def _read(self) -> None:
        self._file = memoryview(map_regular(self.path, functools.partial(ProgramError, "file")))
        program_bytes, self._segments = _read_header(self._file)
        record = flatbuffer.decode(_SCHEMA, "Program", self._file[:program_bytes], _IDENTIFIER)
        self._record = record
        for index, segment in enumerate(record.segments):
            self._check_segment(index, segment)
        self._named_data: dict[str, int] = {}
        for item in record.named_data:
            if item.key is None or item.segment_index >= len(record.segments):
                raise ProgramError(
                    f"named data {item.key!r} segment",
                    f"an index below {len(record.segments)}",
                    item.segment_index,
                )
            if item.key in self._named_data:
                raise ProgramError(f"named data {item.key!r}", "each name once", "it a second time")
            self._named_data[item.key] = item.segment_index
        self.methods: dict[str, Method] = {}
        self._constant_methods = {}
        for plan in record.execution_plan:
            method = Method(plan.name, plan, self._read_graphs(plan))
            if method.name in self.methods:
                raise ProgramError(f"method {method.name!r}", "each name once", "it a second time")
            self.methods[method.name] = method
            value = method.constant_value()
            if value is not None:
                self._constant_methods[method.name] = value

    def _check_segment(self, index: int, segment) -> None:
        start, stop = segment.offset, segment.offset + segment.size
        if stop > len(self._segments):
            expected = f"bytes within segments of {len(self._segments)}"
            raise ProgramError(f"segment {index}", expected, f"{start} to {stop}")

    def _segment(self, index: int) -> tuple[int, memoryview]:
        """A segment's file offset and its bytes."""
        segment = self._record.segments[index]
        start = self._segments.start + segment.offset
        return start, self._file[start : start + segment.size]

    def _read_graphs(self, plan) -> tuple[Graph, ...]:
        graphs = []
        for index, delegate in enumerate(plan.delegates):
            what = f"method {plan.name!r} delegate {index}"
            try:
                if delegate.id != _BACKEND:
                    raise ProgramError("backend", _BACKEND, delegate.id)
                graph = Graph(self._payload(delegate.processed))
                verify.check_graph(graph)
                for slot in graph.constants:
                    self._read_constant(graph, slot)
            except ProgramError as error:
                raise error.inside(what) from None
            graphs.append(graph)
        return tuple(graphs)

    def _payload(self, reference) -> memoryview:
        if reference is None:
            raise ProgramError("payload", "a reference", "none")
        inline = self._record.backend_delegate_data
        in_segment = reference.location == _IN_SEGMENT
        count = len(self._record.segments if in_segment else inline)
        if reference.index >= count:
            raise ProgramError("payload", f"an index below {count}", reference.index)
        if in_segment:
            return self._segment(reference.index)[1]
        return inline[reference.index].data

    def _read_constant(self, graph: Graph, slot: int) -> None:
        name = graph.constant_name(slot)
        what = f"constant {name!r}"
        if name not in self._named_data:
            raise ProgramError(what, "named data", "none")
        start, data = self._segment(self._named_data[name])
        meta = graph.meta(slot)
        verify.check_constant(meta, what, len(data))
        if start % _CONSTANT_ALIGNMENT:
            raise ProgramError(f"{what} file offset", f"a multiple of {_CONSTANT_ALIGNMENT}", start)
        type_ = scalar_type(meta.scalar_type, what)
        shape = verify.static_shape(meta, what)
        view = np.frombuffer(data, type_.storage).reshape(shape)
        self._constants[name] = Constant(name, shape, type_, view, start)


def _read_header(file: memoryview) -> tuple[int, range]:
    """Reads the extended header: the FlatBuffer's size and the bytes of all segments."""

    def number(at: int, size: int = 8) -> int:
        return int.from_bytes(file[_HEADER_AT + at : _HEADER_AT + at + size], "little")

    least = _HEADER_AT + _HEADER_BYTES
    if len(file) < least:
        raise ProgramError("file size", f"at least {least} bytes", len(file))
    magic = bytes(file[_HEADER_AT : _HEADER_AT + 4])
    if magic != _HEADER_MAGIC:
        raise ProgramError("extended header magic", _HEADER_MAGIC, magic)
    if number(4, size=4) < _HEADER_BYTES:
        raise ProgramError("extended header length", f"at least {_HEADER_BYTES}", number(4, 4))
    program_bytes, segment_base, segment_bytes = number(8), number(16), number(24)
    if not _HEADER_AT + _HEADER_BYTES <= program_bytes <= len(file):
        raise ProgramError("program size", f"at most {len(file)} bytes", program_bytes)
    if segment_base and segment_base < program_bytes:
        raise ProgramError("first segment's offset", f"{program_bytes} or more", segment_base)
    if segment_base + segment_bytes > len(file):
        raise ProgramError("file size", f"{segment_base + segment_bytes} bytes", len(file))
    return program_bytes, range(segment_base, segment_base + segment_bytes)
