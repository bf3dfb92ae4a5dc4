"""`demo`: exports SmolLM2-135M-Instruct and lets it answer a question.

    demo [QUESTION]

The `.pte` stays in the user's cache. Exit status: that of `export` or `generate`; 2 if there is
nothing to export, with one line on stderr.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from backends.mlx.common.cache import cache_folder
from backends.mlx.gguf.checkpoint import packaged
from backends.mlx.gguf.command import export, generate
from backends.mlx.gguf.command.main import Parser, run, start

QUESTION = "Why is the sky blue?"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run(_parser(), _demo, arguments)


def _parser() -> Parser:
    parser = Parser(prog="demo", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "question", nargs="*", metavar="QUESTION", help=f"what to ask (default: {QUESTION})"
    )
    return parser


def _demo(options: argparse.Namespace) -> int:
    question = " ".join(options.question) or QUESTION
    source = packaged.smollm2()
    program = cache_folder("checkpoints") / f"{source.stem}.pte"
    program.parent.mkdir(parents=True, exist_ok=True)
    status = export.main([str(source), "--output", str(program)])
    if status:
        return status
    print(f"\n> {question}", flush=True)
    return generate.main([str(program), f"--prompt={question}", "--max-tokens=64"])


if __name__ == "__main__":
    start(main)
