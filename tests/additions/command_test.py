"""A command is added by its check list alone: one that counts the tensors of a file."""

from __future__ import annotations

from tests.additions.testing import Copy, check_list

MODULE = '''"""`count`: says how many tensors a GGUF file holds.

    count FILE.gguf
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.command.main import Parser, run, start, user_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run(_parser(), _count, arguments)


def _parser() -> Parser:
    parser = Parser(prog="count", description=__doc__.split("\\n", maxsplit=1)[0])
    parser.add_argument("file", type=user_path, metavar="FILE.gguf")
    return parser


def _count(options: argparse.Namespace) -> int:
    print(len(GGUFFile(options.file).tensors))
    return 0


if __name__ == "__main__":
    start(main)
'''
ALIAS = """alias(
    name = "count",
    actual = "//backends/mlx/gguf/command:count",
)

"""
SCRIPT = """
from pathlib import Path
from backends.mlx.gguf.checkpoint.testing import TENSORS, write_sample
from backends.mlx.gguf.command import count

assert count.main([str(write_sample(Path("a.gguf")))]) == 0
assert count.main(["nowhere.gguf"]) == 2
print(len(TENSORS))
"""


def test_a_module_and_two_labels(tmp_path):
    copy = Copy(tmp_path)
    folder = "backends/mlx/gguf"
    copy.add(f"{folder}/command/count.py", MODULE)
    copy.insert(
        f"{folder}/command/BUILD.bazel",
        '        "export": "export.py"',
        '        "count": "count.py",\n',
    )
    copy.insert(f"{folder}/BUILD.bazel", 'alias(\n    name = "demo"', ALIAS)
    counted, complaint, expected = copy.run(SCRIPT).split("\n")[:3]
    assert counted == expected
    assert complaint.startswith("count: nowhere.gguf: file: expected a readable file, found")
    assert copy.touched == check_list("A command")
