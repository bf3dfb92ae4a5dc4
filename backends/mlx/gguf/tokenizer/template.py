"""Renders a chat template, as a process of its own: `chat.py` runs it and says what it is for.

It reads JSON from stdin, `template`, `messages`, `special_tokens` and `most` (characters of text),
and writes JSON: `text`, or what went wrong as `refused` (the template's own words) or `fault`.
Nothing of this repository is imported, so that it starts fast.
"""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

_WORDS = "What words would show?"


class Refused(jinja2.TemplateError):
    """The template raised an exception of its own."""


class TooLongError(Exception):
    """The text goes beyond the most that it may have."""


class _Nothing(jinja2.Undefined):
    """A special token that the model has not: it is undefined, and adds nothing to a text."""

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __add__


class _GenerationTag(Extension):
    """`{% generation %}`: marks the assistant's words for training; here it is what it holds."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def render(request: dict[str, Any]) -> str:
    """The text of the request's messages.

    A template that shows nothing of a content that is a string, but shows the parts of a list, gets
    lists: llama.cpp finds out in the same way.
    """
    template = _environment().from_string(request["template"])
    names = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    tokens = {f"{name}_token": _Nothing(name=f"{name}_token") for name in names}
    tokens |= request["special_tokens"]

    def text(messages: list[Any]) -> str:
        pieces, length = [], 0
        for piece in template.generate(
            messages=messages, add_generation_prompt=True, tools=None, documents=None, **tokens
        ):
            pieces.append(piece)
            length += len(piece)
            if length > request["most"]:
                raise TooLongError
        return "".join(pieces)

    def shows(content: Any) -> bool:
        try:
            return _WORDS in text([{"role": "user", "content": content}])
        except Exception:
            return False

    messages = request["messages"]
    if not shows(_WORDS) and shows(_parts(_WORDS)):
        messages = [
            message | {"content": _parts(message["content"])}
            if isinstance(message.get("content"), str)
            else message
            for message in messages
        ]
    return text(messages)


def _parts(content: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": content}]


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_refuse, strftime_now=_now)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes <, > and &, for HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(message: str) -> NoReturn:
    raise Refused(str(message))


def _now(layout: str) -> str:
    return datetime.datetime.now().strftime(layout)


def _answer(request: dict[str, Any]) -> dict[str, str]:
    try:
        return {"text": render(request)}
    except Refused as error:
        return {"refused": str(error)}
    except jinja2.TemplateSyntaxError as error:
        return {"fault": f"line {error.lineno}: {error}"}
    except TooLongError:
        return {"fault": f"one that writes more than {request['most']} characters"}
    # What a template's expressions raise is up to the template: TypeError, OverflowError, ...
    except Exception as error:
        return {"fault": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    json.dump(_answer(json.load(sys.stdin)), sys.stdout)
