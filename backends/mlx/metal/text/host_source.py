"""Turns a unit's Metal text into C++ for the host: one lexical rewrite and a wrapper.

The rewrite: `threadgroup T name[N];` declares memory that all threads of a threadgroup share,
which C++ has no word for; it becomes a reference to memory the runtime hands out. Everything else
compiles as it stands behind host/msl_host.h. Line numbers are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from backends.mlx.metal.text.unit import ATTRIBUTES, Parameter, Unit

# A declaration, not a pointer, reference, cast or parameter: a type, then declarators up to `;`.
_DECLARATION = re.compile(
    r"""\bthreadgroup\s+
    (?P<type>(?:alignas\s*\([^()]*\)\s*)?[A-Za-z_][\w:]*(?:\s*<[^<>;(){}]*>)?)\s+
    (?P<names>\w+\s*(?:\[[^\]]*\]\s*)*(?:,\s*\w+\s*(?:\[[^\]]*\]\s*)*)*);""",
    re.VERBOSE,
)
_DECLARATOR = re.compile(r"\s*(\w+)\s*((?:\[[^\]]*\]\s*)*)")
_COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', re.DOTALL)

# Attributes whose value is not a field of msl_attributes of the same name.
_DERIVED_ATTRIBUTES = {
    "grid_origin": "uint3(0u)",
    "grid_size": "msl::position(thread_->threads_per_grid)",
    "simdgroup_index_in_threadgroup": "thread_->thread_index_in_threadgroup / 32u",
    "quadgroup_index_in_threadgroup": "thread_->thread_index_in_threadgroup / 4u",
    "thread_execution_width": "32u",
    "threads_per_simdgroup": "32u",
    "thread_index_in_quadgroup": "thread_->thread_index_in_threadgroup % 4u",
    "thread_index_in_simdgroup": "thread_->thread_index_in_threadgroup % 32u",
}


def host_source(units: Sequence[Unit]) -> str:
    """C++ that defines for each of a group of units (text.unit.grouped) its `entry_symbol`."""
    kernels = "".join(
        f'#line {line} "{unit.function}.metal"\n{text}\n'
        for unit, (line, text) in zip(units, definitions(units, "host"), strict=True)
    )
    entries = "".join(map(_entry, units))
    # Unnamed namespace: units of one library may hold different helpers of the same name.
    return f"""\
#include "msl_host.h"
namespace {{
{kernels}\
}}  // namespace
{entries}"""


def _entry(unit: Unit) -> str:
    arguments = [
        _buffer_argument(parameter, index) for index, parameter in enumerate(unit.parameters)
    ] + [_attribute_argument(name) for name in unit.attributes]
    call = ",\n      ".join(arguments)
    return f"""\
#line 1 "entry of {unit.function}"
extern "C" __attribute__((visibility("default"), no_sanitize("thread", "alignment")))
void {entry_symbol(unit)}(void* const* buffers_, const msl_attributes* thread_) {{
  (void)buffers_;
  (void)thread_;
  {unit.instance}(
      {call});
}}
"""


def definitions(units: Sequence[Unit], form: str) -> Iterator[tuple[int, str]]:
    """The text of each of a group of units, which has the header they share in the first only.

    form: as for `rewrite_threadgroup_declarations`. Gives the line in `Unit.text` that a text
    begins at, from 1, and the text, rewritten.
    """
    header = units[0].header
    shared = rewrite_threadgroup_declarations(header, form)
    for unit in units:
        text = rewrite_threadgroup_declarations(unit.definition, form)
        if unit is units[0]:
            yield 1, text
        else:
            yield header.count("\n") + 1, text.removeprefix(shared)


def entry_symbol(unit: Unit) -> str:
    """The exported name of a unit's kernel in a library."""
    return "msl_kernel_" + unit.key


def blank_comments(text: str) -> str:
    """`text` with comments and strings blanked out, every other character in its place."""
    return _COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def rewrite_threadgroup_declarations(text: str, form: str = "host") -> str:
    """Replaces `threadgroup T a[N], b;` by references to the threadgroup's memory.

    form: "host", memory of the runtime; "check", the same in the words of C++ for OpenCL;
    "cuda", a plain `__shared__` declaration.
    """
    pieces = []
    end = 0
    count = 0
    for match in _DECLARATION.finditer(blank_comments(text)):
        pieces.append(text[end : match.start()])
        declared = []
        for declarator in match["names"].split(","):
            found = _DECLARATOR.match(declarator)
            assert found, f"{declarator!r} in {match.group()!r}"  # as _DECLARATION asks for it
            name, dimensions = found.groups()
            declared.append(_reference(form, count, match["type"], name, dimensions.strip()))
            count += 1
        lines = match.group().count("\n") - sum(d.count("\n") for d in declared)
        pieces.append(" ".join(declared) + "\n" * max(lines, 0))
        end = match.end()
    return "".join(pieces) + text[end:]


def _reference(form: str, number: int, type_: str, name: str, dimensions: str) -> str:
    if form == "cuda":
        return f"__shared__ {type_} {name}{dimensions};"
    storage = f"{name}_storage_"
    typedef = f"typedef {type_} {storage}{dimensions};"
    if form == "host":
        return (
            f'{typedef} {storage}& {name} = msl::threadgroup_memory<{storage}>({number}, "{name}");'
        )
    return f"{typedef} threadgroup {storage}& {name} = *(threadgroup {storage}*)msl_threadgroup();"


def _buffer_argument(parameter: Parameter, index: int) -> str:
    pointer = f"({parameter.type.rstrip('*&')}*)buffers_[{index}]"
    return "*" + pointer if parameter.type.endswith("&") else pointer


def _attribute_argument(name: str) -> str:
    if name in _DERIVED_ATTRIBUTES:
        return _DERIVED_ATTRIBUTES[name]
    field = f"thread_->{name}"
    return f"msl::position({field})" if ATTRIBUTES[name] == "uint3" else field
