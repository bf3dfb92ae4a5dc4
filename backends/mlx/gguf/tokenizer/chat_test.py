"""Tests of rendering chat templates; transformers' own rendering is the oracle."""

from __future__ import annotations

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

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
    ],
    ids=lambda value: value,
)
def test_what_a_template_must_not_do_is_one_line(template: str, found: str) -> None:
    with pytest.raises(ChatTemplateError) as caught:
        render(template, MESSAGES, TOKENS)
    text = str(caught.value)
    assert text.startswith("chat template: expected ") and found in text and "\n" not in text
