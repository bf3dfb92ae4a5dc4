"""Renders a model's chat template, the Jinja program in `tokenizer.chat_template`.

Templates come with files that nobody vouches for, so they run in Jinja's sandbox. The settings,
and the names a template may use beside Jinja's own, are those that transformers'
`apply_chat_template` established; importing transformers for them takes seconds.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.mlx.common.errors import InputError

Message = Mapping[str, str]


class ChatTemplateError(InputError):
    """A template that is not sound, or that refuses the messages. One line."""


class _GenerationTag(Extension):
    """`{% generation %}`: marks the assistant's words for training; here it is what it holds."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def render(
    template: str, messages: Sequence[Message], special_tokens: Mapping[str, str | None]
) -> str:
    """The prompt's text: `messages` as the model was trained on them, up to where it answers.

    Args:
        template: the Jinja source.
        messages: `role` ("system", "user" or "assistant") and `content` of each, in order.
        special_tokens: texts by the names templates use, `bos_token` and `eos_token`; None for one
            that the model has not.

    Raises:
        ChatTemplateError: the template has a fault, or raises one of its own (a role that the
            model does not know, say).
    """
    try:
        return (
            _environment()
            .from_string(template)
            .render(
                messages=messages,
                add_generation_prompt=True,
                tools=None,
                documents=None,
                **special_tokens,
            )
        )
    except ChatTemplateError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise _fault(f"line {error.lineno}: {error}") from error
    # What a template's expressions raise is up to the template: TypeError, OverflowError, ...
    except Exception as error:
        raise _fault(f"{type(error).__name__}: {error}") from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_refuse, strftime_now=_now)
    return environment


def _to_json(value: Any, **options: Any) -> str:
    # Jinja's own escapes <, > and &, for HTML.
    return json.dumps(value, ensure_ascii=False, **options)


def _refuse(message: str) -> NoReturn:
    raise ChatTemplateError(
        " ".join(f"chat template: expected messages that it takes, found: {message}".split())
    )


def _now(layout: str) -> str:
    return datetime.datetime.now().strftime(layout)


def _fault(found: str) -> ChatTemplateError:
    return ChatTemplateError(
        " ".join(f"chat template: expected a sound Jinja template, found {found}".split())
    )
