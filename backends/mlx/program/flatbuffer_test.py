"""The strict reader against ExecuTorch's own serializer, and against broken buffers."""

import dataclasses
import types
import typing

import numpy as np
import pytest

from backends.mlx.program import flatbuffer, graph, schema
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


def test_every_cut_is_an_error():
    data = memoryview(_payload(_filled(mlx_schema.AddNode)))[24:]
    for size in range(4, len(data) - 16, 3):
        with pytest.raises(ProgramError):
            flatbuffer.decode(graph.SCHEMA, "MLXGraph", data[:size])


def _decode(tmp_path, declarations: str, table: bytes, slots: list[int]):
    """Reads a root table T at byte 16: `table` behind its offset to a vtable with `slots`."""
    fbs = tmp_path / "t.fbs"
    fbs.write_text(declarations)
    vtable = np.array([4 + 2 * len(slots), 4 + len(table), *slots], "<u2").tobytes()
    assert len(vtable) <= 12
    data = (16).to_bytes(4, "little") + vtable.ljust(12, b"\0") + (12).to_bytes(4, "little")
    return flatbuffer.decode(schema.parse(fbs), "T", memoryview(data + table))


BYTES = bytes(range(32))
PADDED = "struct S { a: ubyte; b: ushort; c: ubyte; } table T { s: S; }"


@pytest.mark.parametrize("slot", [4, 6, 8])
def test_structs_are_laid_out_as_in_c(tmp_path, slot):
    read = _decode(tmp_path, PADDED, BYTES, [slot]).s
    first = BYTES[slot - 4]
    assert (read.a, read.b, read.c) == (first, first + 2 + ((first + 3) << 8), first + 4)


@pytest.mark.parametrize("slot", [5, 7])
def test_misaligned_struct(tmp_path, slot):
    message = f"T.s: expected alignment of 2 bytes, found offset {16 + slot}"
    with pytest.raises(ProgramError, match=message):
        _decode(tmp_path, PADDED, BYTES, [slot])


@pytest.mark.parametrize("slot", [5, 6, 7])
def test_misaligned_slot_of_a_graph(tmp_path, slot):
    with pytest.raises(ProgramError, match="alignment of 4"):
        _decode(tmp_path, "struct Tid { idx: uint32; } table T { x: Tid; }", BYTES, [slot])


@pytest.mark.parametrize(
    "items", ["[long]", "[Wide]", "[S]"], ids=["scalars", "wide structs", "structs"]
)
@pytest.mark.parametrize("start, is_sound", [(32, True), (36, False), (34, False)])
def test_misaligned_vectors(tmp_path, items, start, is_sound):
    declarations = (
        "struct Wide { tag: ubyte; value: long; } struct S { x: double; }"
        f"table T {{ items: {items}; }}"
    )
    # The field at byte 20 points to the length, 4 bytes before the items.
    table = (start - 4 - 20).to_bytes(4, "little").ljust(start - 4 - 20, b"\0")
    table += (1).to_bytes(4, "little") + bytes(16)
    if is_sound:
        assert len(_decode(tmp_path, declarations, table, [4]).items) == 1
    else:
        with pytest.raises(ProgramError, match="T.items.*: expected alignment of [48] bytes"):
            _decode(tmp_path, declarations, table, [4])


@pytest.mark.parametrize(
    "slot, table, is_sound",
    [(4, 8, True), (8, 8, False), (8, 10, False), (8, 12, True), (2, 12, False), (1, 12, False)],
)
@pytest.mark.parametrize("field", ["uint", "S", "string"])
def test_fields_lie_between_the_offset_to_the_vtable_and_the_end(
    tmp_path, slot, table, is_sound, field
):
    declarations = f"struct S {{ x: uint; }} table T {{ a: ubyte; f: {field}; }}"
    # A string of length 0 that the field points to lies behind the table's own bytes.
    data = (12).to_bytes(4, "little") * 2 + bytes(16)

    def decode():
        fbs = tmp_path / "t.fbs"
        fbs.write_text(declarations)
        head = np.array([16, 0, 8 | table << 16, slot << 16, 8], "<u4").tobytes()
        return flatbuffer.decode(schema.parse(fbs), "T", memoryview(head + data))

    if is_sound:
        assert decode().f in (12, "") or decode().f.x == 12
    else:
        message = rf"T.f: expected a field inside bytes 4 to {table} of its table, found {slot}"
        with pytest.raises(ProgramError, match=message):
            decode()


@pytest.mark.parametrize(
    "declarations, message",
    [
        ("table T { x: Missing; }", "expected a declared type, found Missing"),
        ("union U { T } table T { x: [U]; }", "expected no vector of unions, found U"),
        ("struct A { x: int; } struct B { a: A; }", "expected scalars in a struct, found A"),
        ("struct A { x: [int]; }", "expected scalars in a struct, found int"),
        ("table T { x: [int:3]; }", "expected fields, found"),
    ],
)
def test_schemas_beyond_the_reader(tmp_path, declarations, message):
    (tmp_path / "t.fbs").write_text(declarations)
    with pytest.raises(ValueError, match=message):
        schema.parse(tmp_path / "t.fbs")
