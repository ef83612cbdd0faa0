"""The lines about the promises: what broke is said to be broken, whenever it broke."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos_report import HELD, PROMISES, Entry, main

ROOT = Path(__file__).resolve().parents[1]

_TESTS = """
import pytest

@pytest.fixture
def unfounded():
    assert False

@pytest.fixture
def checked():
    yield
    assert False

def promise(words):
    return pytest.mark.promise(words)

@promise("P1 kept")
@pytest.mark.parametrize("count", [2, 3])
def test_kept(record_property, count):
    record_property("figures", f"{count} deaths")

@promise("P2 P3 broken")
def test_broken(record_property):
    record_property("figures", "2 deaths")
    assert False

@promise("P3 kept too")
def test_kept_too():
    pass

@promise("P4 never begun")
def test_never_begun(unfounded):
    pass

@promise("P5 wrong in the end")
def test_wrong_in_the_end(checked, record_property):
    record_property("figures", "2 deaths")

@promise("P6 not here")
@pytest.mark.skip
def test_not_here():
    pass

@promise("P7 not now")
def test_not_now():
    pytest.skip()

@promise("P7 now")
def test_now():
    pass
"""


def run(directory: Path, tests: str) -> Path:
    """Run tests in a process of their own, on a worker of it; return what they told."""
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = promise\n")
    (directory / "test_promises.py").write_text(tests)
    told = directory / "told"
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    environment |= {"MGX_CHAOS_REPORT": str(told), "PYTHONPATH": str(ROOT)}
    plugins = ["-p", "tests.chaos_report", "-p", "no:cacheprovider", "-p", "no:django"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-n", "1"],
        env=environment,
        cwd=directory,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return told


def test_each_promise_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(run(tmp_path, _TESTS)) == 1
    lines = capsys.readouterr().out.splitlines()
    said = "SQLite: test_promises.py::test"
    assert lines[:8] == [
        "P1  held     kept | SQLite: 5 deaths",
        f"P2  BROKEN   broken | {said}_broken (call)",
        f"P3  BROKEN   broken; kept too | {said}_broken (call); SQLite: passed: 1",
        f"P4  BROKEN   never begun | {said}_never_begun (setup)",
        f"P5  BROKEN   wrong in the end | {said}_wrong_in_the_end (teardown); SQLite: 2 deaths",
        "P6  left out not here | SQLite: left out: 1",
        "P7  held     not now; now | SQLite: left out: 1; SQLite: passed: 1",
        "P8  no test",
    ]
    assert [line.split()[0] for line in lines] == PROMISES


@pytest.mark.parametrize(("missing", "code"), [("P13", 1), (None, 0)])
def test_no_promise_is_without_a_test(tmp_path: Path, missing: str | None, code: int) -> None:
    kept = [promise for promise in PROMISES if promise != missing]
    entries = [Entry(promise, "kept", HELD, "passed: 1", "SQLite") for promise in kept]
    told = tmp_path / "told"
    told.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert main(told) == code
