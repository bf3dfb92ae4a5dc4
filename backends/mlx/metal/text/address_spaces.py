"""Finds address-space and conversion errors that only Apple's compiler would report otherwise.

The host build has one address space, so it accepts a `device` pointer made from `threadgroup`
memory. clang's C++ for OpenCL has Metal's four under other names and rejects it. Where Metal asks
for an explicit address space, C++ for OpenCL makes a pointer `__generic` instead: declarations and
casts of such a type are errors too. The front end is libclang from PyPI; no clang is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from clang import cindex

from backends.mlx.metal.text.host_source import definitions
from backends.mlx.metal.text.unit import Unit

_METAL = Path(__file__).parents[1]
_PREAMBLE = '#include "msl_check.h"\n'
_ARGUMENTS = [
    "-x",
    "clcpp",
    "-cl-std=clc++2021",
    "-target",
    "spir64",
    "-cl-single-precision-constant",
    # Metal has no double, and no variables at program scope but constants.
    "-Xclang",
    "-cl-ext=+cl_khr_fp16,-cl_khr_fp64,-__opencl_c_fp64,"
    "-__opencl_c_program_scope_global_variables,-__opencl_c_device_enqueue",
    "-cl-no-stdinc",
    "-nostdinc",
    "-Wno-everything",
    "-ferror-limit=20",
]

_DECLARATIONS = {
    cindex.CursorKind.VAR_DECL,
    cindex.CursorKind.PARM_DECL,
    cindex.CursorKind.FIELD_DECL,
}
_ALIASES = {cindex.CursorKind.TYPEDEF_DECL, cindex.CursorKind.TYPE_ALIAS_DECL}
_CASTS = {
    cindex.CursorKind.CSTYLE_CAST_EXPR,
    cindex.CursorKind.CXX_STATIC_CAST_EXPR,
    cindex.CursorKind.CXX_REINTERPRET_CAST_EXPR,
    cindex.CursorKind.CXX_CONST_CAST_EXPR,
    cindex.CursorKind.CXX_FUNCTIONAL_CAST_EXPR,
}
_FUNCTIONS = {
    cindex.CursorKind.FUNCTION_DECL,
    cindex.CursorKind.FUNCTION_TEMPLATE,
    cindex.CursorKind.CXX_METHOD,
}
_INDIRECT = {
    cindex.TypeKind.POINTER,
    cindex.TypeKind.LVALUEREFERENCE,
    cindex.TypeKind.RVALUEREFERENCE,
}
_ARRAYS = {
    cindex.TypeKind.CONSTANTARRAY,
    cindex.TypeKind.INCOMPLETEARRAY,
    cindex.TypeKind.DEPENDENTSIZEDARRAY,
}
_METAL_SPACES = {
    "__global": "device",
    "__constant": "constant",
    "__local": "threadgroup",
    "__private": "thread",
}


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """An error: in which unit, at which line of `Unit.text` (from 1), what, and the line.

    Line 0: in the shim, so an error of backends/mlx/metal.
    """

    unit: str
    line: int
    message: str
    source: str

    def __str__(self) -> str:
        return f"{self.unit}.metal:{self.line}: {self.message}: `{self.source}`"


def check_group(units: Sequence[Unit]) -> list[Diagnostic]:
    """Errors in the texts of a group of units (text.unit.grouped); fast where there are none."""
    found = _found(units)
    if len(units) == 1 or not found:
        return found
    # Each on its own says which of them have an error, and where.
    return [diagnostic for unit in units for diagnostic in _found([unit])] or found


def check_address_spaces(unit: Unit) -> list[Diagnostic]:
    """Errors in a unit's text; [] where Metal would accept its types and address spaces."""
    return _found([unit])


def _found(units: Sequence[Unit]) -> list[Diagnostic]:
    """Errors in a group's texts as one; where there are several, their lines say nothing."""
    unit = units[0]
    text = _PREAMBLE
    for other, (_, definition) in zip(units, definitions(units, "check"), strict=True):
        text += definition
        if other.template:
            # MLX's own instantiation, without the attributes that clang has no place for.
            text += f"\ntemplate decltype({other.instance}) {other.instance};\n"
    file = f"{unit.function}.clcpp"
    translation = cindex.Index.create().parse(
        file,
        args=[*_ARGUMENTS, f"-I{_METAL / 'text' / 'check'}", f"-I{_METAL / 'host' / 'include'}"],
        unsaved_files=[(file, text)],
    )
    lines = unit.text.splitlines()

    def at(line: int, message: str) -> Diagnostic:
        line = max(line - _PREAMBLE.count("\n"), 0)
        source = lines[line - 1].strip() if 1 <= line <= len(lines) else ""
        return Diagnostic(unit.function, line, message, source)

    found: dict[Diagnostic, None] = {}  # a set in order
    for diagnostic in translation.diagnostics:
        if diagnostic.severity >= cindex.Diagnostic.Error:
            line = _line_in(file, diagnostic)
            message = _in_metal(diagnostic.spelling)
            if not line:  # not the unit's fault, but it must not pass
                place = diagnostic.location
                message = f"in the shim, {place.file}:{place.line}: {message}"
            found[at(line, message)] = None
    for line, type_ in _unqualified(translation.cursor, file):
        shown = _in_metal(type_.spelling.replace("__generic ", ""))
        message = f"no address space (device, constant, threadgroup or thread) in type '{shown}'"
        found[at(line, message)] = None
    return sorted(found, key=lambda d: d.line)


def _unqualified(root: cindex.Cursor, file: str) -> Iterator[tuple[int, cindex.Type]]:
    """Line and type of everything declared or cast in `file` without an address space."""
    for cursor in root.get_children():
        location = cursor.location.file
        if location is None or location.name != file:
            continue
        for inner in cursor.walk_preorder():
            if inner.kind in _ALIASES:
                type_ = inner.underlying_typedef_type
            elif inner.kind in _DECLARATIONS or inner.kind in _CASTS:
                type_ = inner.type
            elif inner.kind in _FUNCTIONS:
                type_ = inner.result_type
            else:
                continue
            if _lacks_space(type_):
                yield inner.location.line, type_


def _lacks_space(type_: cindex.Type) -> bool:
    kind = type_.kind
    if kind in _INDIRECT:
        pointee = type_.get_pointee()
        # A template parameter gets no __generic before it is known.
        named = any(space in pointee.spelling for space in _METAL_SPACES)
        return not named or _lacks_space(pointee)
    if kind in _ARRAYS:
        return _lacks_space(type_.element_type)
    return False


def _line_in(file: str, diagnostic: cindex.Diagnostic) -> int:
    """The line in `file` of a diagnostic, or of the use in the unit that led to it."""
    for place in (diagnostic, *diagnostic.children):
        location = place.location
        # Not "in file included from", which the preamble's lines stand for.
        is_unit = location.file is not None and location.file.name == file
        if is_unit and location.line > _PREAMBLE.count("\n"):
            return location.line
    return 0


def _in_metal(message: str) -> str:
    for opencl, metal in _METAL_SPACES.items():
        message = message.replace(opencl, metal)
    return message
