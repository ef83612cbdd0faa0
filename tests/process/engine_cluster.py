"""``manage.py qcluster`` as an operator runs it, started again when it ends, and what it did."""

import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from tests.invariants import assert_invariants
from tests.process.installation import ROOT, Installation, eventually

#: With MGX_CHAOS=long there is more of everything.
IS_LONG = os.environ.get("MGX_CHAOS") == "long"
SCALE = 10 if IS_LONG else 1
#: Seconds between two kills, at least and at most; the long form is about what lasts.
_PAUSES = (0.1, 0.8) if SCALE == 1 else (1, 5)


T = TypeVar("T")


class Cluster:
    """An installation with the ledger's tasks, and the processes of its engine."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        installation.environment |= {
            "DJANGO_SETTINGS_MODULE": "tests.process.ledger.settings",
            "MGX_LEASE_SECONDS": "3",
            "MGX_WORKERS": "2",
            "MGX_DRAIN_SECONDS": "2",
            "LOG_LEVEL": "WARNING",
        }
        self.log = installation.directory / "cluster.log"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.main: subprocess.Popen[bytes] | None = None

    # --- processes --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the cluster in a process group of its own, and wait for its drivers."""
        self.main = self._launch("qcluster")
        eventually(self.drivers, 30, "the drivers", self.log)

    def keep_running(self) -> None:
        """Start it again if it has ended, as whoever supervises it does."""
        if self.main is not None and self.main.poll() is not None:
            self.main = self._launch("qcluster")

    def drivers(self) -> list[int]:
        """Return the processes of the drivers that are alive."""
        rows = self.installation.query(
            "SELECT pid FROM workflows_enginedriver WHERE fenced_at IS NULL AND stopped_at IS NULL"
        )
        return sorted({pid for (pid,) in rows} & self.installation.pids())

    def kill_everything(self) -> None:
        """Kill every process of the cluster at once."""
        assert self.main is not None
        os.killpg(self.main.pid, signal.SIGKILL)
        self.main.wait()

    def put_to_sleep(self, pid: int) -> None:
        """Stop a process, but not while it holds what every writer of SQLite has to wait for."""
        while True:
            os.kill(pid, signal.SIGSTOP)
            if self._is_writable():
                return
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)

    def _is_writable(self) -> bool:
        url = self.installation.environment["DATABASE_URL"]
        if not url.startswith("sqlite"):
            return True
        path = url.removeprefix("sqlite:///")
        with open(f"{path}-queue") as queue, closing(sqlite3.connect(path, timeout=0)) as database:
            try:
                fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
                database.execute("BEGIN IMMEDIATE")
            except (BlockingIOError, sqlite3.OperationalError):
                return False
            return True

    def terminate(self) -> int:
        """Ask the cluster to stop; return its exit code."""
        assert self.main is not None
        self.main.terminate()
        return self.main.wait(30)

    def run_in_background(self, call: str) -> subprocess.Popen[bytes]:
        """Call a function of the ledger's ``scenes`` in a process of its own."""
        return self._launch("shell", "--no-imports", "--command", f"{_SCENES}scenes.{call}")

    def run(self, code: str) -> None:
        """Run code in which ``scenes`` is known, to its end."""
        self.installation.shell(_SCENES + code)

    def close(self) -> None:
        """Let nothing survive the test."""
        for pid in self.installation.pids():
            with_suppressed(lambda pid=pid: os.kill(pid, signal.SIGKILL))
        for process in self.processes:
            process.wait(10)

    def _launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *arguments],
                env=self.installation.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    # --- what it did ------------------------------------------------------------------------

    def live_runs(self) -> int:
        [(count,)] = self.installation.query(
            "SELECT count(*) FROM workflows_workflowexecution WHERE completed_at IS NULL"
        )
        return int(count)

    def statuses(self) -> dict[str, int]:
        """Return how many runs have each status."""
        rows = self.installation.query(
            "SELECT status, count(*) FROM workflows_workflowexecution GROUP BY status"
        )
        return dict(rows)

    def wait_for_the_end(self, seconds: float) -> None:
        def is_over() -> bool:
            self.keep_running()
            return self.live_runs() == 0

        eventually(is_over, seconds, f"the end of all runs: {self.statuses()}", self.log)

    def ledger(self, name: str = "ledger") -> list[tuple[str, str, int, int, float]]:
        """Return execution, step, attempt, process and time of everything that ran."""
        path = self.installation.directory / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [
            (run.replace("-", ""), step, int(attempt), int(pid), float(moment))
            for run, step, attempt, pid, moment in (line.split() for line in lines)
        ]

    def check(self, *, repeats_attempts: bool = False) -> None:
        """Hold the rows to the ledger and to the invariants.

        ``repeats_attempts``: attempts may have been handed back, and begun again by their number.
        """
        assert_invariants(self.installation.query)
        # What was cancelled has no result; its body may have been about to begin.
        rows = {
            (_hex(run), name): (attempts, _seconds(completed) if has_result else None)
            for run, name, attempts, completed, has_result in self.installation.query(
                "SELECT execution_id, name, attempts, completed_at, status <> 'cancelled'"
                " FROM workflows_workflowstepexecution"
            )
        }
        began: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        for run, step, attempt, _, moment in self.ledger():
            began[run, step].append((attempt, moment))
        for key, attempts in began.items():
            last, completed = rows[key]
            assert max(attempt for attempt, _ in attempts) <= last, f"{key} ran unrecorded"
            if completed is not None:
                late = [attempt for attempt, moment in attempts if moment > completed]
                assert not late, f"{key} ran again after its result was committed: {attempts}"
            if not repeats_attempts:
                counted = Counter(attempt for attempt, _ in attempts)
                assert max(counted.values()) == 1, f"an attempt of {key} ran twice: {attempts}"


class Killer:
    """Kills at moments that its seed decides."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)  # noqa: S311  (a test's own)

    def wait(self) -> None:
        """Let some work be done; when the next kill comes is the point of it."""
        time.sleep(self._random.uniform(*_PAUSES))

    def between(self, least: float, most: float) -> float:
        return self._random.uniform(least, most)

    def choose(self, among: Sequence[T]) -> T:
        return self._random.choice(among)

    def kill_a_worker(self) -> None:
        drivers = self._cluster.drivers()
        if drivers:
            victim = self._random.choice(drivers)
            with_suppressed(lambda: os.kill(victim, signal.SIGKILL))


def with_suppressed(act: Callable[[], Any]) -> None:
    """Do it, unless the process is gone by now."""
    try:
        act()
    except ProcessLookupError:
        return


def seeds() -> list[int]:
    """Return the seeds of this session: a few, or many, or the one that MGX_SEED names."""
    if named := os.environ.get("MGX_SEED"):
        return [int(named)]
    return list(range(1, 1 + SCALE))


def _hex(value: Any) -> str:
    return str(value).replace("-", "")


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_SCENES = "from tests.process.ledger import scenes; "


@pytest.fixture
def cluster(installation: Installation) -> Any:
    """A cluster that is not started yet."""
    made = Cluster(installation)
    yield made
    made.close()
