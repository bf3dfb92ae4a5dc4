"""Finds the functions and tables of a Metal text, which nvcc wants marked `__device__`.

nvcc compiles what is unmarked for the host only, and has no switch for that. A scan over
declarations, not a parser: function bodies are skipped, namespaces and classes entered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from backends.mlx.metal.text.host_source import blank_comments

_TEMPLATE = re.compile(r"\s*template\s*<")
_ACCESS = re.compile(r"\s*(?:public|private|protected)\s*:")
_DIRECTIVE = re.compile(r"\s*#(?:[^\n\\]|\\.|\\\n)*")
_CLASS = re.compile(r"\s*(?:class|struct|union)\b[\w\s<>,:*&]*?(?::(?!:).*)?$", re.DOTALL)
_NAMESPACE = re.compile(r"\s*(?:inline\s+)?namespace\b|\s*extern\s*$")
_NO_FUNCTION = re.compile(r"\s*(?:typedef|using|static_assert|friend|_Pragma|template)\b")
_ATTRIBUTE = re.compile(r"\[\[.*?\]\]|\balignas\s*\((?:[^()]|\([^()]*\))*\)", re.DOTALL)
_SUBSCRIPT = re.compile(r"\[[^\[\]]*\]")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def mark_functions(
    text: str, function: str = "MSL_TEXT_FN ", table: str = "MSL_TEXT_TABLE "
) -> str:
    """`text` with `function` before every function and `table` before every constant array at
    namespace scope."""
    pieces, end = [], 0
    for start, is_function in sorted(_places(blank_comments(text))):
        pieces += [text[end:start], function if is_function else table]
        end = start
    return "".join([*pieces, text[end:]])


def _places(text: str) -> Iterator[tuple[int, bool]]:
    """Where the declarations of functions (True) and constant arrays (False) start, after
    `template <...>`."""
    at = 0
    classes: list[bool] = []
    while at < len(text):
        skipped = _DIRECTIVE.match(text, at) or _ACCESS.match(text, at)
        if skipped:
            at = skipped.end()
        elif text[at].isspace() or text[at] == ";":
            at += 1
        elif text[at] == "}":
            if classes:
                classes.pop()
            at += 1
        else:
            start = at
            while True:
                template = _TEMPLATE.match(text, start)
                if not template:
                    break
                start = _after_angles(text, template.end() - 1)
            end = _head_end(text, start)
            start += len(text[start:end]) - len(text[start:end].lstrip())
            head = _ATTRIBUTE.sub(" ", text[start:end])
            opened = end < len(text) and text[end] == "{"
            function = _is_function(head, opened)
            if function or (not any(classes) and _is_constant_array(head)):
                yield start, function
            if opened and (_CLASS.match(head) or _NAMESPACE.match(head)):
                classes.append(_CLASS.match(head) is not None)
                at = end + 1
            elif opened:
                at = _after_group(text, end)
                if not function:  # of an enum or an initializer: the rest of the declaration
                    at = _head_end(text, at)
            else:
                at = end + 1


def _head_end(text: str, at: int) -> int:
    """The `;` or `{` that ends a declaration's head; braces of member initializers are part."""
    initializers = False
    while at < len(text):
        c = text[at]
        if c in "([":
            at = _after_group(text, at)
            continue
        if c == "{":
            before = text[:at].rstrip()[-1:]
            if not (initializers and (before.isalnum() or before in "_>")):
                return at
            at = _after_group(text, at)
            continue
        if c == ":" and text[at - 1] != ":" and text[at + 1 : at + 2] != ":":
            initializers = text[:at].rstrip().endswith(")")
        if c in ";}":
            return at
        at += 1
    return at


def _is_function(head: str, defined: bool) -> bool:
    if _NO_FUNCTION.match(head) or _CLASS.match(head):
        return False
    before, parenthesis, _ = _SUBSCRIPT.sub("", head).partition("(")
    if re.search(r"\boperator\b", before):
        return True
    if not parenthesis or "=" in before:
        return False
    # A declaration has a type before the name; a macro's use has not.
    return defined or len(before.split()) > 1


def _is_constant_array(head: str) -> bool:
    before = head.partition("=")[0]
    return "=" in head and "[" in before and re.search(r"\bconstant\b", before) is not None


def _after_group(text: str, at: int) -> int:
    """The place after the bracket that closes the one at `at`."""
    depth = 0
    opening = text[at]
    closing = _CLOSING[opening]
    while at < len(text):
        if text[at] == opening:
            depth += 1
        elif text[at] == closing:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    raise ValueError(f"unbalanced {opening!r} in a kernel text")


def _after_angles(text: str, at: int) -> int:
    """The place after the `>` of a template head; its defaults hold no comparisons."""
    depth = 0
    while at < len(text):
        c = text[at]
        if c == "(":
            at = _after_group(text, at)
            continue
        depth += (c == "<") - (c == ">")
        at += 1
        if depth == 0:
            return at
    raise ValueError("unbalanced '<' in a kernel text")
