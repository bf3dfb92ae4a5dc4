"""Program: what it reads from a `.pte`, and that no broken file gets past it."""

import mmap
import os
import re
import signal

import numpy as np
import pytest
import torch

from backends.mlx.program import Program, ProgramError
from backends.mlx.program.testing import (
    GraphFile,
    MLXPartitioner,
    mlx_schema,
    to_edge_transform_and_lower,
)

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
BLOCKS = np.arange(40, dtype=np.uint8).reshape(2, 20)


@pytest.fixture(scope="module")
def file():
    x, out = np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32)
    file = GraphFile(
        constants={"weight": WEIGHT, "blocks": BLOCKS}, inputs=[x], outputs=[out], temps=1
    )
    file.chains[0] += [
        mlx_schema.TransposeNode(x=file.constant(0), out=file.temp(0), perm=[1, 0]),
        mlx_schema.AddmmNode(mat1=file.input(0), mat2=file.temp(0), out=file.output(0)),
    ]
    return file


@pytest.fixture(scope="module")
def path(file, tmp_path_factory):
    return file.write(tmp_path_factory.mktemp("program") / "small.pte")


def test_reads_nodes_and_constants(path):
    program = Program(path)
    assert program.node_counts() == {"TransposeNode": 1, "AddmmNode": 1}
    assert program.kernels() == []
    constants = program.constants()
    assert list(constants) == ["weight", "blocks"]
    for name, array in (("weight", WEIGHT), ("blocks", BLOCKS)):
        shape, dtype, size, offset = constants[name]
        assert (shape, dtype, size) == (array.shape, array.dtype.name, array.nbytes)
        assert path.read_bytes()[offset : offset + size] == array.tobytes()


def test_constants_are_views_of_the_mapped_file(path):
    view = Program(path).constant("blocks").view
    base = view
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)
    assert not view.flags.writeable


def test_every_cut_is_one_line_that_names_the_file(path, tmp_path):
    data = path.read_bytes()
    cut = tmp_path / "cut.pte"
    for size in [*range(0, 64), *range(64, len(data), 37), len(data) - 1]:
        cut.write_bytes(data[:size])
        with pytest.raises(ProgramError) as caught:
            Program(cut)
        assert re.fullmatch(re.escape(str(cut)) + r": .+: expected .+, found .+", str(caught.value))


@pytest.mark.parametrize(
    "at, size, value, message",
    [
        (4, 4, b"XX12", "file identifier"),
        (8, 4, b"eh99", "extended header magic"),
        (12, 4, 8, "extended header length"),
        (16, 8, 12, "program size"),
        (16, 8, 1 << 40, "program size"),
        (24, 8, 16, "first segment's offset"),
        (24, 8, 1 << 40, "file size"),
        (32, 8, 1 << 40, "file size"),
    ],
)
def test_bad_header_fields(path, tmp_path, at, size, value, message):
    data = bytearray(path.read_bytes())
    data[at : at + size] = value if isinstance(value, bytes) else value.to_bytes(size, "little")
    broken = tmp_path / "broken.pte"
    broken.write_bytes(data)
    with pytest.raises(ProgramError, match=message):
        Program(broken)


def test_constant_bytes_must_match_the_shape(file, tmp_path):
    graph = file.graph()
    graph.tensor_meta[1].shape[1].value = 21
    with pytest.raises(ProgramError, match=r"'blocks' bytes: expected 42 .uint8 .2, 21.., found"):
        Program(file.write(tmp_path / "a.pte", graph))


def test_constant_without_data(file, tmp_path):
    graph = file.graph()
    graph.named_slots[1].name = "other"
    with pytest.raises(ProgramError, match="constant 'other': expected named data, found none"):
        Program(file.write(tmp_path / "a.pte", graph))


def test_other_backends(path, tmp_path):
    data = path.read_bytes().replace(b"MLXBackend", b"OwnBackend")
    (tmp_path / "a.pte").write_bytes(data)
    with pytest.raises(ProgramError, match="backend: expected MLXBackend, found OwnBackend"):
        Program(tmp_path / "a.pte")


FACTS = {
    "get_max_seq_len": 128,
    "get_scale": 0.5,
    "use_cache": True,
    "get_name": "small",
    "get_eos_ids": [2, 7],
    "get_only_id": [2],
}


def test_constant_methods_and_named_data(tmp_path):
    exported = torch.export.export(torch.nn.Linear(8, 5), (torch.randn(2, 8),))
    edge = to_edge_transform_and_lower(
        exported, partitioner=[MLXPartitioner()], constant_methods=FACTS
    )
    # ExecuTorch lets a program carry named data, but only backends add to it publicly.
    edge._named_data_store.add_named_data("notes/card", b"a text")
    (tmp_path / "a.pte").write_bytes(edge.to_executorch().buffer)
    program = Program(tmp_path / "a.pte")
    assert program.constant_methods() == FACTS
    assert [type(value) for value in program.constant_methods().values()] == list(
        map(type, FACTS.values())
    )
    named = program.named_data()
    assert list(named) == ["notes/card"] and named["notes/card"] == b"a text"
    assert named["notes/card"].readonly


@pytest.mark.parametrize("one, other", [(b"notes/card", b"notes/cart"), (b"get_one", b"get_two")])
def test_a_name_that_two_have_is_refused(tmp_path, one, other):
    exported = torch.export.export(torch.nn.Linear(8, 5), (torch.randn(2, 8),))
    facts = {"get_one": 1, "get_two": 2}
    edge = to_edge_transform_and_lower(
        exported, partitioner=[MLXPartitioner()], constant_methods=facts
    )
    for name in ("notes/card", "notes/cart"):
        edge._named_data_store.add_named_data(name, name.encode() + b" says")
    path = tmp_path / "a.pte"
    content = bytes(edge.to_executorch().buffer)
    path.write_bytes(content)
    assert len(Program(path).named_data()) == 2
    assert content.count(other + b"\0") == 1
    path.write_bytes(content.replace(other + b"\0", one + b"\0"))
    with pytest.raises(ProgramError, match=f"'{one.decode()}': expected each name once, found it"):
        Program(path)


def test_program_without_facts(path):
    program = Program(path)
    assert program.constant_methods() == {} and program.named_data() == {}


@pytest.fixture(name="time_limit")
def _time_limit():
    def end(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("time_limit")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe.pte")
    others = [(pipe, "another kind of file"), (tmp_path, "a directory"), ("/dev/zero", "another")]
    for path, found in others:
        with pytest.raises(
            ProgramError, match=f"{path}: file: expected a regular .*, found {found}"
        ):
            Program(path)


def test_missing_file(tmp_path):
    path = tmp_path / "none.pte"
    with pytest.raises(ProgramError) as caught:
        Program(path)
    assert str(caught.value) == (
        f"{path}: file: expected a readable file, found No such file or directory"
    )
