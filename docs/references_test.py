"""Every path, label, option and module that the documents name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("tests/**/*.md")])

# Where a path of the documents may start.
BASES = [
    ROOT,
    ROOT / "docs",
    ROOT / "backends/mlx",
    ROOT / "backends/mlx/gguf",
    ROOT / "backends/mlx/gguf/kernels",
    ROOT / "backends/mlx/gguf/lowering",
    ROOT / "backends/mlx/metal",
    ROOT / "backends/mlx/runner",
    ROOT / "third_party/pip",
]
# What is made, and what belongs to others.
NOT_OURS = re.compile(
    r"^(build/|~|\$|/|mlx_gguf/|.*(MODEL|FILE|NAME)\b|"
    r"(executorch|mlx|transformers|gguf-py|llama|extension|ggml)[/.-])"
)

CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.{}-]+(?:/[\w.{}-]+)*/?")
# What the macros and lists of BUILD files add to a name.
MADE = re.compile("_(lib|library|kernels)$")
LABEL = re.compile(r"(?<![\w@])//([\w/.-]*)(?::([\w.-]+))?")
SUFFIXES = {".bazel", ".bzl", ".cpp", ".h", ".json", ".lock", ".md", ".metal", ".py", ".sh", ".svg"}


def named(document: Path) -> Iterator[str]:
    """What stands in backticks, in links and in indented blocks."""
    in_lists = False
    for line in document.read_text().splitlines():
        # The check lists name files to be made; tests/additions makes them.
        in_lists = line == "## Check lists" or (in_lists and not line.startswith("## "))
        if in_lists and re.match(r"\d+\. `", line):
            continue
        if line.startswith("    "):
            yield line.strip()
        yield from CODE.findall(line)
        yield from (target for target in re.findall(r"\]\(([^)#]+)\)", line) if ":" not in target)


def words(document: Path) -> Iterator[str]:
    for text in named(document):
        yield from re.sub(r"\s#\s.*", "", text).split()


def is_path(word: str) -> bool:
    """Whether a word is meant as a path of this repository."""
    if NOT_OURS.match(word) or word.startswith("-") or not PATH.fullmatch(word):
        return False
    return Path(word).suffix in SUFFIXES or word.endswith("/") or word.count("/") > 1


def files(package: Path) -> Iterator[Path]:
    """Where the names of a package's targets stand."""
    yield from package.glob("BUILD.bazel")
    yield from package.glob("*.bzl")


def package_of(path: str) -> Path:
    return ROOT / path / "BUILD.bazel"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths(document):
    missing = {
        word
        for word in words(document)
        if is_path(word) and not any((base / word).exists() for base in BASES)
    }
    assert missing == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_labels(document):
    wrong = set()
    for text in named(document):
        for path, target in LABEL.findall(text):
            package, wildcard, _ = path.partition("...")
            build = package_of(package.rstrip("/"))
            name = MADE.sub("", target or Path(path).name)
            if wildcard:
                if not (ROOT / package).is_dir():
                    wrong.add(path)
            elif not any(f'"{name}"' in file.read_text() for file in files(build.parent)):
                wrong.add(f"//{path}:{target}")
    assert wrong == set()


# ./bazelw run LABEL -- OPTIONS
RUN = re.compile(r"bazelw run (//\S+?):(\w+)\s+(.*)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_options_of_commands(document):
    wrong = set()
    for text in named(document):
        for path, target, rest in RUN.findall(text):
            folder = ROOT / path.strip("/")
            if folder == ROOT / "backends/mlx/gguf":  # its aliases
                folder = ROOT / "bench" if target == "bench" else folder / "command"
            sources = "".join(
                file.read_text() for file in folder.rglob("*.py") if "_test" not in file.name
            )
            options = re.findall(r"(?<!\S)--[a-z][\w-]*", re.sub(r"\s#\s.*", "", rest))
            wrong |= {f"{target} {option}" for option in options if f'"{option}"' not in sources}
    assert wrong == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules(document):
    modules = {
        module
        for text in named(document)
        for module in re.findall(r"python\S* -m (\S+)", text)
        if module.split(".")[0] in ("backends", "bench", "docs", "tests", "tools")
    }
    paths = {module: ROOT / module.replace(".", "/") for module in modules}
    assert [m for m, path in paths.items() if not path.with_suffix(".py").exists()] == []


def test_every_base_is_a_folder():
    assert [str(base) for base in BASES if not base.is_dir()] == []


@pytest.mark.parametrize(
    "line, check, found",
    [
        ("See `backends/mlx/nowhere.py`.", test_paths, r"backends/mlx/nowhere\.py"),
        ("1. `backends/mlx/nowhere.py`: a step.", test_paths, r"backends/mlx/nowhere\.py"),
        ("![](performance/nothing.svg)", test_paths, r"performance/nothing\.svg"),
        ("    python -m pytest tools/nowhere/", test_paths, "tools/nowhere"),
        ("1. `./bazelw test //docs:nothing`", test_labels, "//docs:nothing"),
        ("    ./bazelw run //docs:types_page -- --nothing", test_options_of_commands, "--nothing"),
        ("    python -m backends.mlx.nothing", test_modules, r"backends\.mlx\.nothing"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, line, check, found):
    page = tmp_path / "page.md"
    page.write_text(f"Beside `docs/types.md`.\n\n{line}\n")
    with pytest.raises(AssertionError, match=found):
        check(page)
