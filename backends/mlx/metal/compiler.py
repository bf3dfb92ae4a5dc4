"""Finds the C++ compiler that compiles kernels for Linux, and looks whether it computes as Metal.

The one place that decides it: a build runs this as a program and keeps what it prints beside this
file, as compiler.json, for its actions and tests; without a build it is looked for when needed.

    PYTHONPATH=. python -P backends/mlx/metal/compiler.py
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from backends.mlx.common.errors import InputError

# Half rounds after each operation. By itself g++ 13 and later keeps it in float between them.
HALF_FLAGS = ("-fexcess-precision=16",)

_DECLARED = Path(__file__).absolute().with_name("compiler.json")

_WHICH = """\
#ifdef __clang__
clang
#else
gcc __GNUC__
#endif
"""
# Ends with 0 where the sum is infinite, as it is in half: the largest one is 65504.
_ROUNDS_HALF = """\
int main(int one, char**) {
  _Float16 large = 60000 * one;
  return float(large + large - large) < 1e6f;
}
"""


class CompileError(InputError):
    """There is no compiler for kernels, or it refused one. The message holds its first errors."""


@dataclasses.dataclass(frozen=True)
class Compiler:
    """command: the words it is called with, the first an absolute path. version: as it says it."""

    command: tuple[str, ...]
    version: str


def find(environ: Mapping[str, str] = os.environ) -> Compiler:
    """The compiler of the build, or without one that of `$CXX`, by default `g++`.

    Raises:
        CompileError: there is none, or it is not a g++ whose half is Metal's.
    """
    if _DECLARED.exists():
        found = json.loads(_DECLARED.read_text(encoding="utf-8"))
        if not found["command"]:
            raise CompileError("expected a build for Linux, which compiles kernels, found another")
        return Compiler(tuple(found["command"]), found["version"])
    words = shlex.split(environ.get("CXX", "")) or ["g++"]
    # Programs come first ("ccache g++"), then options.
    programs = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    command = [_absolute(program, environ) for program in programs or words[:1]]
    command += words[len(command) :]
    _check(command, " ".join(words))
    return Compiler(tuple(command), _output([*command, "--version"]).splitlines()[0])


def _absolute(program: str, environ: Mapping[str, str]) -> str:
    path = shutil.which(program, path=environ.get("PATH"))
    if path is None:
        raise CompileError(f"{program}: expected g++, which compiles kernels, found no program")
    return os.path.abspath(path)


def _check(command: Sequence[str], name: str) -> None:
    if not re.search(r"^gcc \d+$", _output([*command, "-x", "c++", "-E", "-"], _WHICH), re.M):
        raise CompileError(f"{name}: expected g++, which compiles kernels, found another compiler")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "half")
        build = [*command, *HALF_FLAGS, "-O1", "-x", "c++", "-", "-o", program]
        said = _output(build, _ROUNDS_HALF)
        if not Path(program).exists():
            reason = next((line for line in said.splitlines() if "error" in line), "no program")
            raise CompileError(f"{name}: expected a g++ that has _Float16, found {reason}")
        if subprocess.run([program], check=False).returncode:
            raise CompileError(
                f"{name}: expected a half that rounds after each operation, found one kept in float"
            )


def _output(command: Sequence[str], text: str = "") -> str:
    """What a command prints on both streams, given `text`."""
    done = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},
    )
    return done.stdout


def main() -> int:
    try:
        print(json.dumps(dataclasses.asdict(find())))
    except CompileError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
