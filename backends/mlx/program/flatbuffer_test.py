"""The strict reader against ExecuTorch's own serializer, and against broken buffers."""

import dataclasses
import types
import typing

import numpy as np
import pytest

from backends.mlx.program import flatbuffer, graph
from backends.mlx.program.errors import ProgramError
from backends.mlx.program.testing import mlx_schema, serialize_mlx_graph

NODES = [getattr(mlx_schema, name) for name in graph.SCHEMA.unions["OpNode"]]


class _Filler:
    """Makes a value for each field type, no two alike."""

    def __init__(self):
        self.count = 0

    def __call__(self, annotation):
        self.count += 1
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (typing.Union, types.UnionType):
            return self(arguments[0])
        if origin is list:
            return [self(arguments[0]) for _ in range(self.count % 3 + 1)]
        if annotation is mlx_schema.IntOrVid:
            return self.one_of("from_literal", "from_vid", owner=annotation)
        if annotation is mlx_schema.FloatOrVid:
            return annotation.from_literal(self.count / 4)
        if annotation is mlx_schema.VidOrTid:
            return self.one_of("from_tid", "from_vid", owner=annotation)
        if annotation is mlx_schema.IntOrVidOrTid:
            return annotation.from_tid(mlx_schema.Tid(self.count))
        if annotation in (mlx_schema.Tid, mlx_schema.Vid):
            return annotation(self.count)
        plain = {bool: True, int: self.count, float: self.count / 4, str: f"é{self.count}"}
        return plain[annotation]

    def one_of(self, first, second, owner):
        if self.count % 2:
            return owner.from_vid(mlx_schema.Vid(self.count))
        return (
            owner.from_literal(-self.count)
            if first == "from_literal"
            else owner.from_tid(mlx_schema.Tid(self.count))
        )


def _filled(node_type):
    fill = _Filler()
    hints = typing.get_type_hints(node_type)
    names = [item.name for item in dataclasses.fields(node_type)]
    return node_type(**{name: fill(hints[name]) for name in names})


def _same(written, read) -> bool:
    if dataclasses.is_dataclass(written):
        return type(written).__name__ == type(read).__name__ and all(
            _same(getattr(written, item.name), getattr(read, item.name))
            for item in dataclasses.fields(written)
        )
    if isinstance(written, list):
        return len(written) == len(read) and all(map(_same, written, read))
    return written == read and type(written) is type(read)


def _payload(*chain) -> bytes:
    return serialize_mlx_graph(
        mlx_schema.MLXGraph(
            version="1",
            num_constant_tensors=0,
            num_input_tensors=0,
            num_output_tensors=0,
            num_mutable_buffer_tensors=0,
            num_temp_tensors=0,
            num_values=0,
            instruction_chains=[
                mlx_schema.InstructionChain([mlx_schema.Instruction(op=node) for node in chain])
            ],
            main_chain_idx=0,
            init_chain_idx=-1,
            input_map=[],
            output_map=[],
            mutable_buffer_map=[],
            named_slots=[],
            tensor_meta=[],
        )
    )


@pytest.mark.parametrize("node_type", NODES, ids=lambda node_type: node_type.__name__)
def test_every_node_reads_back_as_written(node_type):
    node = _filled(node_type)
    decoded = graph.Graph(memoryview(_payload(node)))
    assert len(NODES) > 100
    assert _same(node, decoded.chains[0][0]), decoded.chains[0][0]


def test_absent_fields_read_as_their_defaults():
    node = mlx_schema.MetalKernelNode(
        name="k", source="s", inputs=[], outputs=[], grid=[], threadgroup=[]
    )
    read = graph.Graph(memoryview(_payload(node))).chains[0][0]
    assert read.ensure_row_contiguous is True and read.atomic_outputs is False
    assert read.header is None and read.init_value is None
    assert read.input_names == () and read.inputs == ()


def test_every_flipped_byte_is_an_error_or_reads_within_the_buffer():
    node = _filled(mlx_schema.MetalKernelNode)
    payload = np.frombuffer(_payload(node, _filled(mlx_schema.IfNode)), np.uint8)
    errors = 0
    for position in range(payload.size):
        for flip in (0x01, 0x80, 0xFF):
            broken = payload.copy()
            broken[position] ^= flip
            try:
                graph.Graph(memoryview(broken))
            except ProgramError as error:
                errors += 1
                assert "\n" not in str(error)
    assert errors > payload.size / 4


def test_every_cut_is_an_error():
    data = memoryview(_payload(_filled(mlx_schema.AddNode)))[24:]
    for size in range(4, len(data) - 16, 3):
        with pytest.raises(ProgramError):
            flatbuffer.decode(graph.SCHEMA, "MLXGraph", data[:size])
