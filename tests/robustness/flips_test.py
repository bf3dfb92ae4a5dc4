"""Flipped bits of a `.pte`: which must be noticed, and what those may do that are not.

`Anatomy` walks a sound file by ExecuTorch's layout, apart from the reader under test, and says of
every byte what it belongs to and which values leave the file sound. A flip must be refused where
the new value

* breaks a magic or the identifier;
* sends an offset, a size, a length or a vtable's entry outside its buffer or table, or to an
  address that is not aligned as what it points to;
* cuts off bytes that are in use, or a string's NUL;
* is a bool beyond 1, a union's tag without a member, or the absence of a required field.

Every other flip may pass, because the new value could have been written as well: another number,
another letter, an offset to another place that reads as what is wanted, or a byte that nothing
uses. What is decoded then differs in that field only, and the program runs or fails with
ProgramError. The checks of a graph's meaning refuse more than the list; `verify_test.py` has them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.mlx.overlay import schemas
from backends.mlx.program import Program, ProgramError, graph, schema
from backends.mlx.program.testing import GraphFile, IntOrVid, Vid, mlx_schema
from backends.mlx.runner import Runner, interpreter

PROGRAM = schema.parse(schemas.program_fbs())
INPUTS = (np.arange(8, dtype=np.float32).reshape(2, 4), 0)


@dataclasses.dataclass(frozen=True)
class Part:
    """Bytes start to stop are one little-endian number.

    Attributes:
      owner: the field that it belongs to; no other may change with it.
      may_be: whether the file could be sound with another number there.
    """

    start: int
    stop: int
    owner: str
    may_be: Callable[[int], bool]


def _any(value: int) -> bool:
    return True


def _never(value: int) -> bool:
    return False


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


class Anatomy:
    """The parts of one FlatBuffer, which lies at `base` of the file."""

    def __init__(self, rules: schema.Schema, root: str, data: bytes, base: int):
        self.rules, self.data, self.base = rules, data, base
        self.parts: list[Part] = []
        self.table(rules.tables[root], self.follow(0, root), root)
        self.end = max(part.stop for part in self.parts)

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], "little")

    def add(self, at: int, size: int, owner: str, may_be: Callable[[int], bool] = _any) -> int:
        self.parts.append(Part(self.base + at, self.base + at + size, owner, may_be))
        return self.number(at, size)

    def follow(self, at: int, owner: str) -> int:
        """An offset from `at` to a table, a vector or a string: all start with 4 bytes."""
        last = len(self.data) - 4
        return at + self.add(
            at, 4, owner, lambda value: value > 0 and (at + value) % 4 == 0 and at + value <= last
        )

    def table(self, declaration: schema.Declaration, at: int, path: str) -> None:
        end = len(self.data)
        vtable = at - _signed(self.number(at, 4))
        sizes = self.number(vtable, 2), self.number(vtable + 2, 2)

        def place(slot: int) -> int:
            return self.number(vtable + 4 + 2 * slot, 2) if 4 + 2 * slot < sizes[0] else 0

        # (slot, bytes in the table, alignment, required, name) of every field.
        fields = list(self.fields(declaration))
        used = max((place(slot) + size for slot, size, *_ in fields if place(slot)), default=4)
        self.add(
            at,
            4,
            path,
            lambda value: 0 <= at - _signed(value) <= end - 4 and (at - _signed(value)) % 2 == 0,
        )
        self.add(vtable, 2, path, lambda size: size >= 4 and size % 2 == 0 and vtable + size <= end)
        self.add(vtable + 2, 2, path, lambda size: used <= size <= end - at)
        for slot, size, alignment, required, name in fields:
            if 4 + 2 * slot < sizes[0]:
                self.add(
                    vtable + 4 + 2 * slot,
                    2,
                    f"{path}.{name}",
                    lambda inline, size=size, alignment=alignment, required=required: (
                        (4 <= inline <= sizes[1] - size and (at + inline) % alignment == 0)
                        or (inline == 0 and not required)
                    ),
                )
        for item in declaration.fields:
            if inline := place(item.slot):
                self.field(item, at + inline, at + place(item.slot + 1), f"{path}.{item.name}")

    def fields(self, declaration: schema.Declaration) -> Iterator[tuple]:
        for item in declaration.fields:
            size, alignment = (4, 4) if item.is_vector else self.inline(item.type)
            is_union = item.type in self.rules.unions
            if is_union:
                yield item.slot, 1, 1, True, item.name
            slot = item.slot + is_union
            yield slot, size, alignment, item.required or is_union, item.name

    def inline(self, name: str) -> tuple[int, int]:
        """Bytes and alignment of a value in its table or vector; structs hold one number each."""
        if name in self.rules.structs:
            (field,) = self.rules.structs[name].fields
            name = field.type
        code = self.rules.scalar_code(name)
        size = np.dtype(code).itemsize if code else 4
        return size, size

    def field(self, item: schema.Field, at: int, union_at: int, path: str) -> None:
        if item.is_vector:
            self.vector(item.type, self.follow(at, path), path)
        elif item.type in self.rules.unions:
            members = self.rules.unions[item.type]
            tag = self.add(at, 1, path, lambda tag: 1 <= tag <= len(members))
            member = self.rules.tables[members[tag - 1]]
            self.table(member, self.follow(union_at, path), path)
        else:
            self.value(item.type, at, path)

    def vector(self, name: str, at: int, path: str) -> None:
        size, _ = self.inline(name)
        length = self.add(at, 4, path, lambda count: at + 4 + count * size <= len(self.data))
        for index in range(length):
            # Vectors of bytes are read as one value.
            item = path if self.rules.scalar_code(name) == "B" else f"{path}[{index}]"
            self.value(name, at + 4 + index * size, item)

    def value(self, name: str, at: int, path: str) -> None:
        if name == "string":
            at = self.follow(at, path)
            data = self.data
            length = self.add(
                at, 4, path, lambda count: data[at + 4 + count : at + 5 + count] == b"\0"
            )
            for index in range(length):
                self.add(at + 4 + index, 1, path)
            self.add(at + 4 + length, 1, path, _never)
        elif name in self.rules.tables:
            self.table(self.rules.tables[name], self.follow(at, path), path)
        else:
            is_bool = self.rules.scalar_code(name) == "?"
            self.add(
                at, self.inline(name)[0], path, (lambda value: value <= 1) if is_bool else _any
            )


def _plain() -> GraphFile:
    """A program without kernels: slots of all kinds, two branches, a scan."""
    x, start = INPUTS
    file = GraphFile(
        chains=[[], [], [], []],
        constants={"weight": x + 1, "blocks": np.arange(8, dtype=np.uint8)},
        inputs=[x],
        outputs=[x],
        mutable=[x],
        temps=4,
        values=2,
        int_inputs=(start,),
    )
    start, rows = IntOrVid.from_vid(Vid(0)), IntOrVid.from_vid(Vid(1))
    literal = IntOrVid.from_literal
    x, weight, out, cache = file.input(0), file.constant(0), file.output(0), file.buffer(0)
    taken, row, product, step = (file.temp(index) for index in range(4))
    file.chains[0] += [
        mlx_schema.SymSizeNode(a=x, dim=0, out=Vid(1)),
        mlx_schema.SliceUpdateNode(
            dst=cache, update=x, out=cache, axis=literal(0), start=start, stop=rows, step=1
        ),
        mlx_schema.IfNode(cond=start, then_chain_idx=1, else_chain_idx=2),
        mlx_schema.ScanNode(
            originals=[taken], sliced=[row], outputs=[step], carry=[], body_chain_idx=3, scan_axis=0
        ),
        mlx_schema.SoftmaxNode(x=step, out=out, axis=-1, precise=True),
    ]
    file.chains[1].append(mlx_schema.AddNode(a=x, b=weight, out=taken))
    file.chains[2] += [
        mlx_schema.TransposeNode(x=weight, out=product, perm=[1, 0]),
        mlx_schema.AddmmNode(mat1=cache, mat2=product, out=product),
        mlx_schema.RepeatNode(x=product, out=taken, repeats=literal(2), axis=1),
    ]
    file.chains[3].append(mlx_schema.ExpNode(x=row, out=step))
    return file


def _kernel() -> GraphFile:
    """A program of one kernel, with arguments of all kinds."""
    x, start = INPUTS
    file = GraphFile(inputs=[x], outputs=[x])
    literal = IntOrVid.from_literal
    kernel = mlx_schema.MetalKernelNode(
        name="copy",
        source="uint i = thread_position_in_grid.x; out[i] = x[i];",
        inputs=[file.input(0)],
        outputs=[file.output(0)],
        grid=[literal(8), literal(1), literal(1)],
        threadgroup=[literal(8), literal(1), literal(1)],
        input_names=["x"],
        output_names=["out"],
        output_shapes_flat=[literal(2), literal(4)],
        output_shape_lengths=[2],
        output_dtypes=[6],
        template_arg_names=["InT", "N", "FLAG"],
        template_arg_kinds=[2, 0, 1],
        template_arg_values=[6, 5, 1],
    )
    file.chains[0].append(kernel)
    return file


class _File:
    """A written program, the parts of each of its bytes, and what is decoded from it."""

    def __init__(self, path: Path):
        self.data = path.read_bytes()
        self.program = Program(path)
        self.contents = _contents(self.program)
        self.parts: list[list[Part]] = [[] for _ in self.data]
        for part in self._walk():
            for position in range(part.start, part.stop):
                self.parts[position].append(part)

    def _number(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 8], "little")

    def _walk(self) -> Iterator[Part]:
        """The program's header and FlatBuffer, the delegate's header and FlatBuffer, constants."""
        size, base, end = self._number(16), self._number(24), len(self.data)
        program = Anatomy(PROGRAM, "Program", self.data[:size], 0)
        yield from program.parts
        yield Part(4, 12, "magic", _never)  # ET12, eh00
        # A later version's header may be longer.
        yield Part(12, 16, "header length", lambda length: length >= 32)
        yield Part(16, 24, "program size", lambda size: program.end <= size <= base)
        # The delegate's segment is the first and starts with a magic; the last ends with the file.
        yield Part(24, 32, "first segment", _never)
        yield Part(32, 40, "bytes of segments", _never)
        assert base + self._number(32) == end

        payload_size = self.program._record.segments[0].size
        payload = self.data[base + 24 : base + payload_size]
        delegate = Anatomy(graph.SCHEMA, "MLXGraph", payload, base + 24)
        yield from delegate.parts
        yield Part(base + 4, base + 8, "magic", _never)  # MLX0
        used = delegate.end - base
        # Where the delegate's own data would start; there is none, so nor may it have a size.
        yield Part(base + 8, base + 16, "", lambda offset: used <= offset <= payload_size)
        yield Part(base + 16, base + 24, "", _never)
        assert (self._number(base + 8), self._number(base + 16)) == (payload_size, 0)

        for name, (_, _, count, offset) in self.program.constants().items():
            for position in range(offset, offset + count):
                yield Part(position, position + 1, f"constant {name}", _any)

    def flips(self) -> Iterator[tuple[int, int]]:
        """(position, mask) of the flips that are tried.

        In the lowest byte of what is an address or a size also those that misalign it, or make it
        that of the next word. Of a value the lowest and the highest byte are enough.
        """
        for position, parts in enumerate(self.parts):
            if any(part.start < position < part.stop - 1 and part.may_be is _any for part in parts):
                continue
            is_address = any(part.start == position and part.may_be is not _any for part in parts)
            for mask in (0x01, 0x02, 0x04, 0x80) if is_address else (0x80,):
                yield position, mask

    def must_refuse(self, position: int, broken: bytes) -> bool:
        return not all(
            part.may_be(int.from_bytes(broken[part.start : part.stop], "little"))
            for part in self.parts[position]
        )

    def strays(self, position: int, program: Program) -> list[str]:
        """The fields that changed with a byte that is not theirs."""
        owners = [part.owner for part in self.parts[position]]
        found = _contents(program)
        changed = {
            path
            for path in found.keys() | self.contents.keys()
            if found.get(path) != self.contents.get(path)
            and not any(path.startswith(owner) for owner in owners)
        }
        # The program's record says which bytes are the graph and the constants.
        if any(owner.startswith("Program") for owner in owners):
            changed = {path for path in changed if path.startswith("Program")}
        return sorted(changed)


def _contents(program: Program) -> dict[str, object]:
    """All that is decoded, by the path of the field."""
    found = dict(_leaves("Program", program._record))
    for each in (each for method in program.methods.values() for each in method.graphs):
        found |= _leaves("MLXGraph", each.record)
    for name in program.constants():
        found[f"constant {name}"] = program.constant(name).view.tobytes()
    return found


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if dataclasses.is_dataclass(value):
        yield f"{path} type", type(value).__name__
        for field in dataclasses.fields(value):
            yield from _leaves(f"{path}.{field.name}", getattr(value, field.name))
    elif isinstance(value, tuple):
        yield f"{path} length", len(value)
        for index, item in enumerate(value):
            yield from _leaves(f"{path}[{index}]", item)
    else:
        yield path, bytes(value) if isinstance(value, memoryview) else value


# What a flip makes of a kernel's text is the compiler's and the checker's business: not run.
@pytest.mark.parametrize("sample, runs", [(_plain, True), (_kernel, False)])
def test_flips(tmp_path, monkeypatch, sample, runs):
    # A size may be any number; here none that takes long.
    monkeypatch.setattr(interpreter, "MEMORY_BYTES", 1 << 20)
    file = _File(sample().write(tmp_path / "sound.pte"))
    if runs:
        assert np.array(Runner(file.program)(*INPUTS)[0]).shape == (2, 4)
    path = tmp_path / "broken.pte"
    refused, passed = Counter(), Counter()
    for position, mask in file.flips():
        broken = bytearray(file.data)
        broken[position] ^= mask
        path.write_bytes(broken)
        where = f"byte {position} ^ {mask:#x}: {[part.owner for part in file.parts[position]]}"
        must_refuse = file.must_refuse(position, broken)
        try:
            program = Program(path)
        except ProgramError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error), where
            refused[must_refuse] += 1
            continue
        assert not must_refuse, where
        assert not file.strays(position, program), where
        passed[runs and _runs(program)] += 1
    print(f"refused {refused}, passed {passed}")
    # The walk is no empty promise: both kinds are many.
    assert refused[True] > 1000 and passed.total() > 300


def _runs(program: Program) -> bool:
    try:
        Runner(program)(*INPUTS)
        return True
    except ProgramError:
        return False
