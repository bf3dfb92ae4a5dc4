"""Parses FlatBuffers schemas (`.fbs`), as much of the language as ExecuTorch's two schemas use.

Language reference: https://flatbuffers.dev/schema/. Kept: tables, structs, enums, unions,
vectors, strings, defaults, `= null`, `(required)` and includes. Field slots follow declaration
order; a union field takes two slots, its type tag first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path

SCALARS = {
    "bool": "?", "byte": "b", "int8": "b", "ubyte": "B", "uint8": "B",
    "short": "h", "int16": "h", "ushort": "H", "uint16": "H",
    "int": "i", "int32": "i", "uint": "I", "uint32": "I",
    "long": "q", "int64": "q", "ulong": "Q", "uint64": "Q",
    "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip

_DECLARATION = re.compile(r"\b(table|struct|enum|union)\s+(\w+)\s*(?::\s*(\w+)\s*)?\{([^}]*)\}")
_FIELD = re.compile(r"(\w+)\s*:\s*(\[?)\s*(\w+)\s*\]?\s*(?:=\s*([^;(\s]+))?\s*(\([^)]*\))?\s*;")
_INCLUDE = re.compile(r'\binclude\s+"([^"]+)"\s*;')


@dataclass(frozen=True)
class Field:
    """One field of a table or struct.

    Attributes:
      slot: its index in the vtable (for a union, that of the type tag).
      type: a scalar's or a declaration's name, or `string`.
      default: what an absent field reads as; None also for `= null` and for non-scalars.
    """

    name: str
    slot: int
    type: str
    is_vector: bool
    required: bool
    default: object


@dataclass(frozen=True)
class Declaration:
    """A table or struct: its fields, and the dataclass that a decoded one becomes."""

    name: str
    fields: tuple[Field, ...]
    record: type


@dataclass
class Schema:
    """All declarations of one schema and its includes, by name."""

    tables: dict[str, Declaration] = field(default_factory=dict)
    structs: dict[str, Declaration] = field(default_factory=dict)
    enums: dict[str, str] = field(default_factory=dict)
    unions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    enum_values: dict[str, dict[str, int]] = field(default_factory=dict)

    def scalar_code(self, type_name: str) -> str | None:
        """The `struct` code of a scalar or enum type, None for any other type."""
        return SCALARS.get(self.enums.get(type_name, type_name))


def parse(path: Path) -> Schema:
    """Reads the schema at `path` with its includes.

    Raises ValueError for what the reader does not know: undeclared types, vectors of unions, and
    structs of anything but scalars.
    """
    schema = Schema()
    bodies: list[tuple[str, str, str]] = []
    for kind, name, base, body in _declarations(path, set()):
        if kind == "enum":
            schema.enums[name] = base
            schema.enum_values[name] = _enum_values(body)
        elif kind == "union":
            schema.unions[name] = tuple(re.findall(r"\w+", body))
        else:
            bodies.append((kind, name, body))
    # Fields come last: a default or a union's two slots depend on enums and unions.
    for kind, name, body in bodies:
        fields = _fields(schema, f"{path}: {name}", body)
        record = make_dataclass(name, [item.name for item in fields], frozen=True)
        target = schema.tables if kind == "table" else schema.structs
        target[name] = Declaration(name, fields, record)
    _check_types(schema, path)
    return schema


def _check_types(schema: Schema, path: Path) -> None:
    declared = {"string", *SCALARS, *schema.enums, *schema.unions, *schema.tables, *schema.structs}
    for declaration in (*schema.tables.values(), *schema.structs.values()):
        for item in declaration.fields:
            expected = None
            if item.type not in declared:
                expected = "a declared type"
            elif item.is_vector and item.type in schema.unions:
                expected = "no vector of unions"
            elif declaration.name in schema.structs and (
                item.is_vector or schema.scalar_code(item.type) is None
            ):
                expected = "scalars in a struct"
            if expected:
                where = f"{path}: {declaration.name}.{item.name}"
                raise ValueError(f"{where}: expected {expected}, found {item.type}")


def _declarations(path: Path, seen: set[Path]):
    if path in seen:
        return
    seen.add(path)
    text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
    for include in _INCLUDE.findall(text):
        yield from _declarations(path.parent / include, seen)
    yield from _DECLARATION.findall(text)


def _enum_values(body: str) -> dict[str, int]:
    values: dict[str, int] = {}
    following = 0
    for name, explicit in re.findall(r"(\w+)\s*(?:=\s*(-?\d+))?\s*(?:,|$)", body.strip()):
        values[name] = int(explicit) if explicit else following
        following = values[name] + 1
    return values


def _fields(schema: Schema, where: str, body: str) -> tuple[Field, ...]:
    if leftover := _FIELD.sub("", body).strip():
        raise ValueError(f"{where}: expected fields, found {leftover.split(';')[0]!r}")
    fields = []
    slot = 0
    for name, bracket, type_name, default, attributes in _FIELD.findall(body):
        is_vector = bool(bracket)
        fields.append(
            Field(
                name,
                slot,
                type_name,
                is_vector,
                required="required" in attributes,
                default=None if is_vector else _default(schema, type_name, default),
            )
        )
        slot += 2 if type_name in schema.unions else 1
    return tuple(fields)


def _default(schema: Schema, type_name: str, text: str) -> object:
    code = schema.scalar_code(type_name)
    if code is None or text == "null":
        return None
    if text in schema.enum_values.get(type_name, ()):
        return schema.enum_values[type_name][text]
    if code == "?":
        return text == "true"
    return float(text or 0) if code in "fd" else int(text or 0)
