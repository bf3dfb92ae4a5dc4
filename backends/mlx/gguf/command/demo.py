"""`demo`: exports SmolLM2-135M-Instruct and lets it answer a question.

    demo [QUESTION]

The `.pte` stays in the user's cache. Exit status: that of `export` or `generate`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from backends.mlx.gguf.checkpoint.packaged import cache_directory, smollm2
from backends.mlx.gguf.command import export, generate

QUESTION = "Why is the sky blue?"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both commands and returns the first status that is not 0."""
    question = " ".join(sys.argv[1:] if arguments is None else arguments) or QUESTION
    program = cache_directory() / f"{smollm2().stem}.pte"
    program.parent.mkdir(parents=True, exist_ok=True)
    status = export.main(["--output", str(program)])
    if status:
        return status
    print(f"\n> {question}", flush=True)
    return generate.main([str(program), "--prompt", question, "--max-tokens", "64"])


if __name__ == "__main__":
    sys.exit(main())
