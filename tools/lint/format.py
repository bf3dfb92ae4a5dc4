"""Formats the tree: Python by ruff, C++ and Metal by clang-format.

    ./bazelw run //tools/lint:format

Imports are sorted and what ruff can mend by itself is mended. The tests beside this say what is
left.
"""

from __future__ import annotations

import subprocess
import sys

from tools.lint import sources


def main() -> int:
    """Formats every file in place; returns ruff's status."""
    root, environ = sources.ROOT, sources.environment()
    checked = subprocess.run(sources.ruff_command(root, "check", "--fix", str(root)), env=environ)
    subprocess.run(sources.ruff_command(root, "format", str(root)), env=environ, check=True)
    for path in sources.cpp(root):
        old = path.read_text()
        new = subprocess.run(
            sources.clang_format_command(root, "--assume-filename=x.cpp"),
            input=old,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        if new != old:
            path.write_text(new)
            print(f"formatted {path}")
    return checked.returncode


if __name__ == "__main__":
    sys.exit(main())
