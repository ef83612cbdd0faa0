"""One line for each promise: what was done to it, whether it held, and in figures.

A test says which one it is about, ``record_property("promise", "P4 runs cancelled at random")``,
and at its end what it counted, ``record_property("figures", …)``. With ``-p tests.chaos_report``
pytest adds that to the file MGX_CHAOS_REPORT; ``python -m tests.chaos_report FILE`` sums it up.
"""

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Entry(NamedTuple):
    """What one test says of one promise."""

    promise: str
    done: str
    result: str
    figures: str
    database: str


class Report:
    """Collects what the tests of this session say, and appends it to a file at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[Entry] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._entries += entries_of(report)

    def pytest_sessionfinish(self) -> None:
        with self._path.open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in self._entries)


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")  # of xdist, whose reports its main process sees
    if not is_worker and (path := os.environ.get("MGX_CHAOS_REPORT")):
        config.pluginmanager.register(Report(Path(path)), "chaos_report")


def entries_of(report: pytest.TestReport) -> Iterable[Entry]:
    """Return an entry for each promise that a test was about."""
    said: dict[str, Any] = dict(report.user_properties)
    if "promise" not in said:
        return
    result = {"passed": "held", "failed": "BROKEN"}.get(report.outcome, "left out")
    is_postgresql = os.environ.get("DATABASE_URL", "").startswith("postgres")
    database = "PostgreSQL" if is_postgresql else "SQLite"
    promises, done = re.split(r" (?!P\d)", said["promise"], maxsplit=1)
    for promise in promises.split():
        yield Entry(promise, done, result, str(said.get("figures", report.nodeid)), database)


def lines(entries: Iterable[Entry]) -> Iterable[str]:
    """Return one line a promise, in the order of their numbers."""
    by_promise: dict[str, list[Entry]] = {}
    for entry in entries:
        by_promise.setdefault(entry.promise, []).append(entry)
    for promise in sorted(by_promise, key=lambda name: int(name[1:])):
        said = by_promise[promise]
        broken = any(entry.result == "BROKEN" for entry in said)
        done = "; ".join(dict.fromkeys(entry.done for entry in said))
        figures = "; ".join(f"{database}: {text}" for database, text in _figures(said))
        yield f"{promise:<4}{'BROKEN' if broken else 'held':<8}{done} | {figures}"


def _figures(entries: list[Entry]) -> Iterable[tuple[str, str]]:
    """Return what was counted on each database; where several say the same, their sum."""
    alike: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        words = re.sub(r"\d+", "#", entry.figures)
        alike.setdefault((entry.database, words), []).append(entry.figures)
    for (database, words), texts in alike.items():
        rows = [map(int, re.findall(r"\d+", text)) for text in texts]
        sums = map(str, map(sum, zip(*rows, strict=True)))
        yield database, "".join(next(sums) if c == "#" else c for c in words)


def main(path: Path) -> int:
    entries = [Entry(*json.loads(line)) for line in path.read_text().splitlines()]
    for line in lines(entries):
        sys.stdout.write(line + "\n")
    return int(not entries or any(entry.result == "BROKEN" for entry in entries))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
