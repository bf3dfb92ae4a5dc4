r"""Writes regular expressions so that each engine that reads a tokenizer splits as llama.cpp does.

Three engines read them: Oniguruma (`tokenizers`), and RE2 and PCRE2 (ExecuTorch's C++ tokenizer,
which asks the second for what the first cannot do). They differ in what `\s` is, and in the version
of Unicode; llama.cpp has that of Unicode 15 (`src/unicode-data.cpp`).
"""

from __future__ import annotations

import re

# Unicode's property White_Space.
_SPACES = (
    r"\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}"
    r"\x{3000}"
)
# Letters, numbers, marks and symbols of Unicode 16. To llama.cpp they are of no category.
_LATER = (
    r"\x{897}\x{1B4E}-\x{1B4F}\x{1B7F}\x{1C89}-\x{1C8A}\x{2427}-\x{2429}\x{31E4}-\x{31E5}"
    r"\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D40}-\x{10D8F}\x{10EC2}-\x{10EFC}"
    r"\x{11380}-\x{113E2}\x{116D0}-\x{116E3}\x{11BC0}-\x{11BF9}\x{11F5A}\x{13460}-\x{143FA}"
    r"\x{16100}-\x{16139}\x{16D40}-\x{16D79}\x{18CFF}\x{1CC00}-\x{1CEB3}\x{1E5D0}-\x{1E5FF}"
    r"\x{1F8B2}-\x{1F8C1}\x{1FA89}-\x{1FA8F}\x{1FABE}\x{1FAC6}\x{1FADC}-\x{1FADF}\x{1FAE9}"
    r"\x{1FBCB}-\x{1FBEF}"
)
_CLASS = re.compile(r"\[(?P<not>\^?)(?P<body>(?:\\.|[^\]\\])*)\]|\\[pP]\{\w+\}|\\[sS]|\\.")


def exact(expression: str) -> str:
    r"""The expression with `\s`, `\S` and `\p{...}` as llama.cpp understands them.

    Args:
        expression: with these, bracketed classes, and what all engines read alike: groups,
            alternatives, quantifiers and lookahead.
    """
    return _CLASS.sub(_exact_class, expression)


def covering(expression: str) -> str:
    """The same split, as one whose matches are all of the text: what lies between comes as one.

    ExecuTorch's C++ tokenizer drops what a split does not match.
    """
    return rf"(?:{expression})|(?:(?!{expression})[\s\S])+"


def _exact_class(match: re.Match[str]) -> str:
    text, body = match[0], match["body"]
    if body is None:
        if text == r"\s":
            return f"[{_SPACES}]"
        if text == r"\S":
            return f"[^{_SPACES}]"
        if text.startswith(r"\p"):
            return rf"(?:(?![{_LATER}]){text})"
        if text.startswith(r"\P"):
            return rf"(?:{text}|[{_LATER}])"
        return text
    body = body.replace(r"\s", _SPACES)
    if r"\p" not in body:
        return f"[{match['not']}{body}]"
    if match["not"]:
        return f"(?:[^{body}]|[{_LATER}])"
    return f"(?:(?![{_LATER}])[{body}])"
