"""Adds up the tests of one Bazel run from the JUnit XML files it reports.

`junit_summary.py EVENTS` reads the JSON file of Bazel's --build_event_json_file and prints
`N passed, N failed`, followed by `, N skipped` where there are any. The events name the XML
files of exactly the tests of that run, cached ones included; the folder bazel-testlogs may
still hold those of tests that no longer exist.
"""

import argparse
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlparse


class Summary(NamedTuple):
    """Numbers of test cases."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def xml_files(events: Path) -> Iterator[Path]:
    """The test.xml of every shard and attempt of every test of the run."""
    for line in events.read_text().splitlines():
        for output in json.loads(line).get("testResult", {}).get("testActionOutput", []):
            if output["name"] == "test.xml":
                yield Path(unquote(urlparse(output["uri"]).path))


def summarize(files: Iterator[Path]) -> Summary:
    """Adds up the test cases of these JUnit XML files; one with an error has failed."""
    passed = failed = skipped = 0
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
    return Summary(passed, failed, skipped)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", type=Path)
    print(summarize(xml_files(parser.parse_args().events)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
