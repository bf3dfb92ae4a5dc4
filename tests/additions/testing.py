"""A copy of what can be imported, to which a test adds what a check list says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "CONTRIBUTING.md"


def check_list(title: str) -> list[str]:
    """The paths that a check list of CONTRIBUTING.md asks to change, in order."""
    section = re.search(
        rf"^### {re.escape(title)}$\n(.*?)(?=^##|\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert section, f"{GUIDE.name} has no check list {title!r}"
    return re.findall(r"^\d+\. `([^`]+)`", section[1], re.MULTILINE)


class Copy:
    """The copy. `touched`: the paths that were added or changed, in order."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.touched: list[str] = []
        shutil.copytree(
            ROOT / "backends",
            folder / "backends",
            # Compiled kernels are of the texts as they were.
            ignore=shutil.ignore_patterns("*_test.py", "*.so", "__pycache__"),
        )

    def add(self, path: str, text: str) -> None:
        """Writes a new file."""
        assert not (self.folder / path).exists()
        (self.folder / path).write_text(text)
        self.touched.append(path)

    def insert(self, path: str, before: str, text: str) -> None:
        """Inserts `text` in front of `before`, which occurs once; an empty one is the end."""
        file = self.folder / path
        old = file.read_text()
        assert not before or old.count(before) == 1, f"{path}: {before!r} {old.count(before)} times"
        file.write_text(old.replace(before, text + before) if before else old + text)
        if path not in self.touched:
            self.touched.append(path)

    def run(self, script: str) -> str:
        """What a Python script prints that imports from the copy; it must succeed."""
        elsewhere = [path for path in sys.path if path and Path(path).resolve() != ROOT.resolve()]
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(self.folder), *elsewhere])},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout
