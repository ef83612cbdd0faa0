"""One line for each promise: what was done to it, whether it held, and in figures.

A test says which one it is about, ``@pytest.mark.promise("P4 runs cancelled at random")``, and at
its end what it counted, ``record_property("figures", …)``. With ``-p tests.chaos_report`` pytest
adds that to the file MGX_CHAOS_REPORT; ``python -m tests.chaos_report FILE`` sums it up. A promise
is broken where a test of it fails, also in its setup or afterwards; none may be without a test.
"""

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROMISES = [f"P{number}" for number in range(1, 25)]

HELD, BROKEN, LEFT_OUT = "held", "BROKEN", "left out"


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
        self._entries += entries_of(report)

    def pytest_sessionfinish(self) -> None:
        with self._path.open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in self._entries)


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")  # of xdist, whose reports its main process sees
    if not is_worker and (path := os.environ.get("MGX_CHAOS_REPORT")):
        config.pluginmanager.register(Report(Path(path)), "chaos_report")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("promise"):
            item.user_properties.append(("promise", mark.args[0]))


def entries_of(report: pytest.TestReport) -> Iterable[Entry]:
    """Return an entry for each promise that a test was about, when it has failed, or is over."""
    is_over = report.when == "call" or report.skipped
    if not (is_over or report.failed):
        return
    said: dict[str, Any] = dict(report.user_properties)
    result, figures = {
        "passed": (HELD, str(said.get("figures", "passed: 1"))),
        "failed": (BROKEN, f"{report.nodeid} ({report.when})"),
        "skipped": (LEFT_OUT, "left out: 1"),
    }[report.outcome]
    is_postgresql = os.environ.get("DATABASE_URL", "").startswith("postgres")
    database = "PostgreSQL" if is_postgresql else "SQLite"
    for name, words in report.user_properties:
        if name == "promise":
            promises, done = re.split(r" (?!P\d)", str(words), maxsplit=1)
            for promise in promises.split():
                yield Entry(promise, done, result, figures, database)


def lines(entries: Iterable[Entry]) -> Iterable[str]:
    """Return one line a promise, in the order of their numbers."""
    by_promise: dict[str, list[Entry]] = {promise: [] for promise in PROMISES}
    for entry in entries:
        by_promise[entry.promise].append(entry)
    for promise, said in by_promise.items():
        results = {entry.result for entry in said}
        result = next((r for r in (BROKEN, HELD, LEFT_OUT) if r in results), "no test")
        done = "; ".join(dict.fromkeys(entry.done for entry in said))
        figures = "; ".join(f"{database}: {text}" for database, text in _figures(said))
        yield f"{promise:<4}{result:<9}{done} | {figures}".rstrip(" |")


def _figures(entries: list[Entry]) -> Iterable[tuple[str, str]]:
    """Return what was counted on each database; where several say the same, their sum."""
    alike: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry.result == BROKEN:
            yield entry.database, entry.figures
            continue
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
    is_broken = any(entry.result == BROKEN for entry in entries)
    return int(is_broken or {entry.promise for entry in entries} != set(PROMISES))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
