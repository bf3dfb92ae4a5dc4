"""Tests of rendering chat templates; transformers' own rendering is the oracle."""

from __future__ import annotations

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from backends.mlx.gguf.tokenizer import chat
from backends.mlx.gguf.tokenizer.chat import ChatTemplateError, render

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<b> & 'x'?"}]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

TEMPLATES = {
    "control": """
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' %}{% continue %}{% endif %}
    {{- '<|' + message['role'] + '|>' + message.content | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}
""",
    # Blocks' own lines leave nothing behind: trim_blocks and lstrip_blocks.
    "blocks": """
{% for message in messages %}
  {% if loop.first %}
{{ message | tojson }}
  {% endif %}
{% endfor %}
{{ messages | tojson(indent=2) }}
""",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% endfor %}",
    "json": "{{ messages | tojson(ensure_ascii=True, sort_keys=True) }}"
    "{{ messages | tojson(separators=(',', ':')) }}{{ messages | tojson(indent=1) }}",
    "unset tokens": "{{ pad_token }}{{ unk_token is defined }}{{ bos_token is none }}",
    "names": "{{ strftime_now('%Y') }} {{ tools is none }} {{ documents is none }} {{ missing }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_agrees_with_transformers(name: str) -> None:
    (expected,), _ = render_jinja_template(
        [MESSAGES], chat_template=TEMPLATES[name], add_generation_prompt=True, **TOKENS
    )
    assert render(TEMPLATES[name], MESSAGES, TOKENS) == expected


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (
            "{{ raise_exception('System role\nnot supported') }}",
            "messages that it takes, found: System role not supported",
        ),
        ("{% if %}", "a sound Jinja template, found line 1: Expected an expression"),
        ("{{ messages[0].content + 1 }}", "found TypeError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "found SecurityError"),
        ("{{ messages.append(1) }}", "found SecurityError"),
        ("{% for i in range(10**12) %}{% endfor %}", "found OverflowError: Range too big"),
        ("{% include 'x' %}", "found TypeError: no loader"),
        ("{{ 'x' * 10**12 }}", "found MemoryError"),
        (
            "{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
            "more than 4194304 characters",
        ),
    ],
    ids=lambda value: value,
)
def test_what_a_template_must_not_do_is_one_line(template: str, found: str) -> None:
    with pytest.raises(ChatTemplateError) as caught:
        render(template, MESSAGES, TOKENS)
    text = str(caught.value)
    assert text.startswith("chat template: expected ") and found in text and "\n" not in text


def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_SECONDS", 1)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(ChatTemplateError, match="found one that runs for 1 s or more"):
        render(loops, MESSAGES, TOKENS)


def test_unset_tokens_add_nothing() -> None:
    assert render("{{ bos_token + 'a' + eos_token }}{{ pad_token }}", MESSAGES, {}) == "a"


PARTS = "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (f"{{% for message in messages %}}{PARTS}{{% endfor %}}", "Be brief.<b> & 'x'?"),
        (
            "{% for message in messages %}{% if message['content'] is string %}"
            f"{{{{ message['content'] }}}}{{% else %}}parts:{PARTS}{{% endif %}}{{% endfor %}}",
            "Be brief.<b> & 'x'?",
        ),
        # It shows neither.
        ("{% for message in messages %}{{ message['role'] }}{% endfor %}", "systemuser"),
    ],
)
def test_content_is_parts_where_text_does_not_show(template: str, text: str) -> None:
    assert render(template, MESSAGES, TOKENS) == text
