"""A strict FlatBuffers reader: bounds, alignment, required fields and union tags are checked.

Python's `flatbuffers` package has no verifier, so a corrupt file would be read as garbage. This
reader decodes a whole buffer into records while it checks what the C++ `flatbuffers::Verifier`
checks, and more: fields lie within their table, vectors of all types are aligned, bools are 0 or
1, union tags are known. Format: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from backends.mlx.program.errors import ProgramError
from backends.mlx.program.schema import Declaration, Field, Schema

# The C++ verifier's own limits: nesting, and decoded tables (shared ones count each time).
_MAX_DEPTH = 64
_MAX_TABLES = 1_000_000
# Signed offsets must be able to go back as far.
_MAX_OFFSET = 2**31 - 1

_CODES = {code: struct.Struct("<" + code) for code in "?bBhHiIqQfd"}


def decode(schema: Schema, root: str, data: memoryview, identifier: bytes = b"") -> Any:
    """Decodes the buffer `data` whose root is a table of type `root`.

    Args:
      data: the bytes of the FlatBuffer, starting at its root offset.
      identifier: the four bytes that must follow the root offset, if any.

    Returns:
      A record (a dataclass named like the table, one attribute a field). Enum values are ints,
      strings `str`, unions the member's record, vectors tuples; a vector of bytes is a memoryview
      into `data`. Absent optional fields are their default, `()` for a vector, else None.

    Raises:
      ProgramError: the buffer is malformed; the message names the table, field and offset.
    """
    reader = _Reader(schema, data)
    if identifier and bytes(data[4:8]) != identifier:
        raise ProgramError("file identifier", identifier, bytes(data[4:8]))
    return reader.table(schema.tables[root], reader.offset(0, root), 0)


class _Reader:
    def __init__(self, schema: Schema, data: memoryview):
        self.schema = schema
        self.data = data
        self.tables = 0
        self.structs = {
            name: _layout([schema.scalar_code(field.type) for field in declaration.fields])
            for name, declaration in schema.structs.items()
        }
        # Writers share equal strings; kernels' sources are long, so they are decoded once.
        self.strings: dict[int, str] = {}

    def scalar(self, code: str, at: int, what: str):
        size = _CODES[code].size
        self.check_range(at, size, what)
        self.check_alignment(at, size, what)
        if code == "?":
            # struct reads any byte as a bool; a writer stores 0 or 1 only.
            byte = self.data[at]
            if byte > 1:
                raise ProgramError(what, "a bool (0 or 1)", byte)
            return byte == 1
        return _CODES[code].unpack_from(self.data, at)[0]

    def check_range(self, at: int, size: int, what: str) -> None:
        if at < 0 or at + size > len(self.data):
            raise ProgramError(
                what, f"bytes within a FlatBuffer of {len(self.data)}", f"{at} to {at + size}"
            )

    def check_alignment(self, at: int, alignment: int, what: str) -> None:
        if at % alignment:
            raise ProgramError(what, f"alignment of {alignment} bytes", f"offset {at}")

    def offset(self, at: int, what: str) -> int:
        """Follows the unsigned relative offset at `at`."""
        relative = self.scalar("I", at, what)
        if not 0 < relative <= _MAX_OFFSET:
            raise ProgramError(what, f"an offset of 1 to {_MAX_OFFSET}", relative)
        return at + relative

    def table(self, declaration: Declaration, at: int, depth: int) -> object:
        name = declaration.name
        self.tables += 1
        if depth > _MAX_DEPTH or self.tables > _MAX_TABLES:
            raise ProgramError(
                name,
                f"at most {_MAX_TABLES} tables nested {_MAX_DEPTH} deep",
                f"table {self.tables} at depth {depth}",
            )
        vtable = at - self.scalar("i", at, name)
        vtable_bytes = self.scalar("H", vtable, f"{name} vtable")
        table_bytes = self.scalar("H", vtable + 2, f"{name} vtable")
        if vtable_bytes < 4 or vtable_bytes % 2:
            raise ProgramError(f"{name} vtable size", "an even number >= 4", vtable_bytes)
        if table_bytes < 4:
            raise ProgramError(f"{name} size", "the 4 bytes of its offset or more", table_bytes)
        self.check_range(vtable, vtable_bytes, f"{name} vtable")
        self.check_range(at, table_bytes, name)

        def position(slot: int, size: int, what: str) -> int | None:
            """Where the field's `size` bytes are; None where it is absent."""
            entry = 4 + 2 * slot
            if entry >= vtable_bytes:
                return None
            inline = self.scalar("H", vtable + entry, what)
            if inline == 0:
                return None
            if not 4 <= inline <= table_bytes - size:
                expected = f"a field inside bytes 4 to {table_bytes} of its table"
                raise ProgramError(what, expected, inline)
            return at + inline

        values = [
            self.field(f"{name}.{field.name}", field, position, depth)
            for field in declaration.fields
        ]
        return declaration.record(*values)

    def field(self, what: str, field: Field, position, depth: int) -> object:
        if field.type in self.schema.unions and not field.is_vector:
            value = self.union(what, field, position, depth)
        else:
            size = 4 if field.is_vector else self.inline(field.type)[0]
            at = position(field.slot, size, what)
            if at is None:
                value = () if field.is_vector and not field.required else field.default
            elif field.is_vector:
                value = self.vector(what, field.type, self.offset(at, what), depth)
            else:
                value = self.value(what, field.type, at, depth)
        if field.required and value is None:
            raise ProgramError(what, "a value", "none")
        return value

    def union(self, what: str, field: Field, position, depth: int) -> object:
        tag_at, at = position(field.slot, 1, what), position(field.slot + 1, 4, what)
        tag = 0 if tag_at is None else self.scalar("B", tag_at, what)
        if tag == 0 or at is None:
            if tag or at is not None:
                raise ProgramError(what, "a tag and a value, or neither", f"tag {tag}")
            return None
        members = self.schema.unions[field.type]
        if tag > len(members):
            raise ProgramError(what, f"a union tag up to {len(members)}", tag)
        return self.table(self.schema.tables[members[tag - 1]], self.offset(at, what), depth + 1)

    def value(self, what: str, type_name: str, at: int, depth: int) -> object:
        """One value of a non-vector type stored (or pointed to) at `at`."""
        if code := self.schema.scalar_code(type_name):
            return self.scalar(code, at, what)
        if type_name == "string":
            return self.string(what, self.offset(at, what))
        if declaration := self.schema.structs.get(type_name):
            return self.inline_struct(declaration, at, what)
        return self.table(self.schema.tables[type_name], self.offset(at, what), depth + 1)

    def inline_struct(self, declaration: Declaration, at: int, what: str) -> object:
        members, _, alignment = self.structs[declaration.name]
        self.check_alignment(at, alignment, what)
        values = [self.scalar(code, at + offset, what) for code, offset in members]
        return declaration.record(*values)

    def inline(self, type_name: str) -> tuple[int, int]:
        """Size and alignment of what a field or an element of the type holds in place."""
        if code := self.schema.scalar_code(type_name):
            return _CODES[code].size, _CODES[code].size
        if type_name in self.structs:
            return self.structs[type_name][1:]
        return 4, 4

    def vector(self, what: str, type_name: str, at: int, depth: int):
        length = self.scalar("I", at, what)
        start = at + 4
        size, alignment = self.inline(type_name)
        self.check_range(start, length * size, what)
        self.check_alignment(start, alignment, what)
        code = self.schema.scalar_code(type_name)
        if code == "B":
            return self.data[start : start + length]
        if code and code != "?":
            values = self.data[start : start + length * size]
            return tuple(np.frombuffer(values, "<" + code).tolist())
        return tuple(
            self.value(f"{what}[{index}]", type_name, start + index * size, depth)
            for index in range(length)
        )

    def string(self, what: str, at: int) -> str:
        if at not in self.strings:
            length = self.scalar("I", at, what)
            self.check_range(at + 4, length + 1, what)
            if self.data[at + 4 + length] != 0:
                raise ProgramError(what, "a string that ends in NUL", "none")
            try:
                self.strings[at] = bytes(self.data[at + 4 : at + 4 + length]).decode()
            except UnicodeDecodeError as error:
                raise ProgramError(what, "UTF-8 text", error.reason) from None
        return self.strings[at]


def _layout(codes: Sequence[str]) -> tuple[list[tuple[str, int]], int, int]:
    """A struct's members as (code, offset), its size and its alignment, by C's rules.

    A member's offset is a multiple of its size; the struct's size and alignment are multiples of
    the widest member's.
    """
    members, end = [], 0
    for code in codes:
        size = _CODES[code].size
        end += -end % size
        members.append((code, end))
        end += size
    alignment = max(_CODES[code].size for code in codes)
    return members, end + -end % alignment, alignment
