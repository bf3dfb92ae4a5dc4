"""Makes requirements.lock from requirements.in: exact versions and hashes for two platforms.

    python3.11 third_party/pip/lock.py [--upgrade]

Run it on Linux x86-64 with Python 3.11. It asks pip to resolve requirements.in there, keeping
the locked versions unless --upgrade is given, and then for the wheels of the same versions
for macOS arm64. Nothing is installed. Packages without a wheel are left out and named.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.in"
LOCK = HERE / "requirements.lock"

HEAD = """\
# The exact packages, for CPython 3.11 on Linux x86-64 and macOS arm64 (15 or later).
# Made from requirements.in by lock.py; do not edit.
# The hashes of the macOS wheels are those the package index states: they were never installed.
"""

MACOS = [
    *(f"macosx_{version}_0_arm64" for version in (15, 14, 13, 12, 11)),
    "macosx_10_9_universal2",
]


class Pin(NamedTuple):
    """A wheel of one package for one platform."""

    version: str
    sha256: str


def requirements_for(platform: str, *, data_only: bool = False) -> list[str]:
    """The lines of requirements.in without comments, for that value of sys.platform.

    Those marked "# data only", which are locked without what they need, or the others.
    """
    chosen = [
        line
        for line in REQUIREMENTS.read_text().splitlines()
        if ("# data only" in line) == data_only
    ]
    lines = [re.sub(r"#.*", "", line).strip() for line in chosen]
    parts = [line.partition(";") for line in lines if line]
    return [spec.strip() for spec, _, marker in parts if not marker or f'"{platform}"' in marker]


def resolve(requirements: list[str], *options: str) -> dict[str, Pin]:
    """What pip would install for these requirements, by normalized package name."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("".join(line + "\n" for line in requirements))
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"),
                *("--ignore-installed", "--report", str(report), "--requirement", str(wanted)),
                *options,
            ],
            check=True,
        )
        items = json.loads(report.read_text())["install"]
    pins = {}
    for item in items:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if not item["download_info"]["url"].endswith(".whl"):
            print(f"left out: {name} (no wheel)")
            continue
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        pins[name] = Pin(item["metadata"]["version"], digest)
    return pins


def locked_versions() -> list[str]:
    """The lock's Linux packages as constraints."""
    entries = re.findall(r"^(\S+==\S+)(?: ; (.*?))? \\$", LOCK.read_text(), re.MULTILINE)
    return [spec for spec, marker in entries if not marker or '"linux"' in marker]


def entry(name: str, version: str, hashes: set[str], platform: str = "") -> str:
    """One requirement with its hashes, a line each."""
    marker = f' ; sys_platform == "{platform}"' if platform else ""
    lines = [f"{name}=={version}{marker}", *sorted(f"--hash=sha256:{h}" for h in hashes)]
    return " \\\n    ".join(lines)


def lock_text(linux: dict[str, Pin], macos: dict[str, Pin]) -> str:
    """The lock: one entry where both platforms have the same version, else one for each."""
    entries = []
    for name in sorted(linux.keys() | macos.keys()):
        pins = {"linux": linux.get(name), "darwin": macos.get(name)}
        versions = {pin and pin.version for pin in pins.values()}
        if len(versions) == 1:
            hashes = {pin.sha256 for pin in pins.values()}
            entries.append(entry(name, versions.pop(), hashes))
        else:
            entries += [
                entry(name, pin.version, {pin.sha256}, platform)
                for platform, pin in pins.items()
                if pin
            ]
    return HEAD + "\n".join(entries) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    for_linux, for_macos = requirements_for("linux"), requirements_for("darwin")
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("" if upgrade else "\n".join(locked_versions()))
        linux = resolve(for_linux, "--constraint", str(constraints))
        data = requirements_for("linux", data_only=True)
        linux |= resolve(data, "--no-deps", "--constraint", str(constraints))

        linux_only = {re.split(r"[=<> ]", spec)[0] for spec in for_linux if spec not in for_macos}
        same = [f"{name}=={pin.version}" for name, pin in linux.items() if name not in linux_only]
        macos = resolve(
            same + [spec for spec in for_macos if spec not in for_linux],
            *("--no-deps", "--only-binary", ":all:", "--target", folder),
            *("--python-version", "3.11", "--implementation", "cp"),
            *("--abi", "cp311", "--abi", "abi3", "--abi", "none"),
            *(option for tag in MACOS for option in ("--platform", tag)),
        )
    LOCK.write_text(lock_text(linux, macos))
    return 0


if __name__ == "__main__":
    sys.exit(main())
