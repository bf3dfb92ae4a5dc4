"""Adds up JUnit XML files as pytest and as Bazel write them."""

import json
import subprocess
import sys

import pytest

from tools.python import junit_summary
from tools.python.junit_summary import Summary

PYTEST = """<testsuites><testsuite name="pytest" tests="4">
<testcase name="a"/><testcase name="b"><system-out>text</system-out></testcase>
<testcase name="c"><skipped message="no"/></testcase>
<testcase name="d"><failure message="1 != 2"/></testcase>
</testsuite></testsuites>"""

# What Bazel itself writes for a test that died before it wrote a file.
CRASHED = """<testsuites><testsuite name="x" tests="1" errors="1">
<testcase name="x" status="run"><error message="exited with error code 139"/></testcase>
</testsuite></testsuites>"""


def events(tmp_path, *xml_texts):
    """An event file of a run whose tests left these texts."""
    lines = [{"started": {}}, {"testResult": {"status": "NO_STATUS"}}]
    for n, text in enumerate(xml_texts):
        folder = tmp_path / f"test {n}"
        folder.mkdir()
        (folder / "test.xml").write_text(text)
        outputs = [
            {"name": "test.log", "uri": (folder / "test.log").as_uri()},
            {"name": "test.xml", "uri": (folder / "test.xml").as_uri()},
        ]
        lines.append({"testResult": {"testActionOutput": outputs}})
    path = tmp_path / "events.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    "xml_texts, expected",
    [
        ([], Summary(0, 0, 0)),
        ([PYTEST], Summary(2, 1, 1)),
        ([CRASHED], Summary(0, 1, 0)),
        ([PYTEST, CRASHED, PYTEST], Summary(4, 3, 2)),
    ],
)
def test_summary(tmp_path, xml_texts, expected):
    files = junit_summary.xml_files(events(tmp_path, *xml_texts))
    assert junit_summary.summarize(files) == expected


def test_tests_of_an_earlier_run_do_not_count(tmp_path):
    path = events(tmp_path, PYTEST)
    stale = tmp_path / "stale"
    stale.mkdir()
    (stale / "test.xml").write_text(PYTEST)
    assert junit_summary.summarize(junit_summary.xml_files(path)) == Summary(2, 1, 1)


def test_a_cut_file_is_an_error_and_not_a_lower_number(tmp_path):
    with pytest.raises(junit_summary.ElementTree.ParseError):
        junit_summary.summarize(junit_summary.xml_files(events(tmp_path, PYTEST[:50])))


def test_command_prints_one_line(tmp_path):
    command = [sys.executable, junit_summary.__file__, str(events(tmp_path, PYTEST))]
    assert subprocess.check_output(command, text=True) == "2 passed, 1 failed, 1 skipped\n"


def test_skipped_is_left_out_when_there_is_none():
    assert str(Summary(7, 0, 0)) == "7 passed, 0 failed"
