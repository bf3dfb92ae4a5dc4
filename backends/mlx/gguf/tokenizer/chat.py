"""Renders a model's chat template, the Jinja program in `tokenizer.chat_template`.

Templates come with files that nobody vouches for, so they run in Jinja's sandbox, and in a process
of their own, which has so much time and memory and no more: `'x' * 10**12` or three loops in one
another cannot be stopped from inside. The settings, and the names a template may use beside Jinja's
own, are those that transformers' `apply_chat_template` established; importing transformers for them
takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends.mlx.common.errors import InputError

Message = Mapping[str, Any]

_PROGRAM = Path(__file__).with_name("template.py")
_SECONDS = 10
_MEMORY = 1 << 30
_CHARACTERS = 1 << 22


class ChatTemplateError(InputError):
    """A template that is not sound, or that refuses the messages. One line."""


def render(template: str, messages: Sequence[Message], special_tokens: Mapping[str, str]) -> str:
    """The prompt's text: `messages` as the model was trained on them, up to where it answers.

    Takes a tenth of a second, to start a process.

    Args:
        template: the Jinja source.
        messages: `role` ("system", "user" or "assistant") and `content` of each, in order. A
            content is text; where a template shows only lists of parts, it is made one.
        special_tokens: texts by the names templates use (`bos_token`, `eos_token`, `unk_token`,
            `pad_token`, ...); those the model has not are absent, and render as nothing.

    Raises:
        ChatTemplateError: the template has a fault, raises one of its own (a role that the model
            does not know, say), or takes too much time, memory or text.
    """
    request = {
        "template": template,
        "messages": [dict(message) for message in messages],
        "special_tokens": dict(special_tokens),
        "most": _CHARACTERS,
    }
    answer = _run(json.dumps(request))
    if "refused" in answer:
        raise _error("messages that it takes, found:", answer["refused"])
    if "fault" in answer:
        raise _error("a sound Jinja template, found", answer["fault"])
    return answer["text"]


def _run(request: str) -> dict[str, str]:
    try:
        done = subprocess.run(
            # Not the folder of the program: its neighbours are not for import.
            [sys.executable, "-P", "-c", _LIMITED, str(_PROGRAM), str(_SECONDS), str(_MEMORY)],
            input=request.encode(),
            capture_output=True,
            # A busy machine gives it less than all of its time.
            timeout=6 * _SECONDS,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode:
        if done is not None and b"MemoryError" in done.stderr:
            raise _error("a sound Jinja template, found", f"one that needs {_MEMORY} bytes or more")
        raise _error("a sound Jinja template, found", f"one that runs for {_SECONDS} s or more")
    return json.loads(done.stdout)


# macOS knows no limit of memory: there time is the only one.
_LIMITED = """
import resource, runpy, sys
program, seconds, memory = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if sys.platform == "linux":
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
runpy.run_path(program, run_name="__main__")
"""


def _error(expected: str, found: str) -> ChatTemplateError:
    return ChatTemplateError(" ".join(f"chat template: expected {expected} {found}".split()))
