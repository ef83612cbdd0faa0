"""``manage.py up`` under ``kill -9``: whatever dies, work goes on, and nothing is left over."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.process.installation import Installation, Up, eventually

Note = Callable[[str, object], None]
ROLES = ("web", "main", "sentinel", "first worker", "second worker", "monitor", "pusher")

#: What has nothing to do with the database is tried on one.
once = pytest.mark.skipif(
    os.environ.get("DATABASE_URL", "").startswith("postgres") and "MGX_CHAOS" not in os.environ,
    reason="the same on every database: run on SQLite, and by make chaos",
)


@pytest.fixture
def up(shared_up: Callable[..., Up]) -> Up:
    """The whole thing, running."""
    return shared_up()


def queue_task(installation: Installation) -> Callable[[], bool]:
    """Queue a task; return whether it has run and been acknowledged, as a function."""
    path = installation.directory / uuid4().hex
    installation.shell(f"from django_q.tasks import async_task; async_task('os.mkdir', '{path}')")
    waiting = "SELECT count(*) FROM django_q_ormq"
    return lambda: path.exists() and installation.query(waiting) == [(0,)]


@once
def test_idle_it_takes_little_memory_and_time(up: Up, record_property: Note) -> None:
    time.sleep(5)
    pids = list(up.roles().values())
    busy, started = sum(map(cpu_seconds, pids)), time.monotonic()
    time.sleep(10)
    share = (sum(map(cpu_seconds, pids)) - busy) / (time.monotonic() - started)
    memory = sum(map(pss_megabytes, pids))
    record_property("idle", f"{memory:.0f} MB, {share:.1%} of a core")
    assert memory <= 400
    assert share <= 0.06  # 3 % on an idle machine; beside other tests each turn costs more.


@pytest.mark.parametrize("role", ROLES)
def test_whatever_is_killed_comes_back(up: Up, role: str, record_property: Note) -> None:
    before, started = up.roles(), time.monotonic()
    os.kill(before[role], signal.SIGKILL)
    eventually(lambda: before[role] not in up.roles().values(), 5, f"the {role} gone")
    eventually(up.is_well, 60, "all well", up.log)
    record_property("processes_seconds", round(time.monotonic() - started, 1))
    eventually(queue_task(up.installation), 60, "a task", up.log)
    record_property("task_seconds", round(time.monotonic() - started, 1))
    assert up.roles()["supervisor"] == before["supervisor"]
    eventually(lambda: up.installation.pids() <= set(up.roles().values()), 5, "no orphans")


@once
@pytest.mark.parametrize("role", ["web", "main", "sentinel"])
def test_whatever_hangs_is_replaced(up: Up, role: str) -> None:
    before = up.roles()[role]
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: up.roles().get(role) not in (None, before), 60, f"another {role}", up.log)
    up.wait_until_well()
    assert before not in up.installation.pids()


@once
def test_a_request_waits_while_the_web_process_is_replaced(up: Up) -> None:
    os.kill(up.roles()["web"], signal.SIGKILL)
    assert up.get("/livez") == (200, "ok\n")


@once
def test_a_cluster_leaves_nothing_behind_even_alone(up: Up) -> None:
    """Its main process dies while nobody supervises it: the rest of it goes with it."""
    group = up.roles()
    os.kill(group["supervisor"], signal.SIGSTOP)
    try:
        os.kill(group["main"], signal.SIGKILL)
        gone = {group[role] for role in group if role not in ("supervisor", "web", "main")}
        eventually(lambda: not gone & up.installation.pids(), 5, "the whole cluster gone")
    finally:
        os.kill(group["supervisor"], signal.SIGCONT)


@once
def test_what_dies_again_and_again_is_started_ever_more_slowly(up: Up) -> None:
    for _ in range(3):
        pid = eventually(lambda: up.roles().get("web"), 30, "a web process", up.log)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda p=pid: up.roles().get("web") not in (None, p), 30, "another", up.log)
    pauses = [float(pause) for pause in re.findall(r"web .* again in ([0-9.]+) s", read(up.log))]
    assert 0 < pauses[-2] < pauses[-1]


@once
def test_a_taken_port_is_said_at_once(up: Up, start_up: Callable[..., Up]) -> None:
    second = start_up("--port", str(up.port))
    assert second.process.wait(60) == 1
    assert "cannot listen on 127.0.0.1" in read(second.log)


@once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked_to(up: Up, number: int) -> None:
    started = time.monotonic()
    assert up.stop(number) == 0
    assert time.monotonic() - started < 10
    assert not up.installation.pids()
    assert "hard way" not in read(up.log)


def test_nothing_outlives_the_supervisor(up: Up) -> None:
    up.process.kill()
    up.process.wait()
    eventually(lambda: not up.installation.pids(), 5, "every process gone")


@once
def test_it_stops_while_it_starts(installation: Installation, start_up: Callable[..., Up]) -> None:
    up = start_up()
    # Not any child: what Python looks for libraries with is one for a moment, before all others.
    eventually(lambda: "web" in up.roles(), 30, "a web process", up.log)
    assert up.stop() == 0
    assert not installation.pids()


@once
def test_it_asks_for_migrate_first(installation: Installation) -> None:
    installation.manage("migrate", "sessions", "zero", "--verbosity", "0")
    done = installation.manage("up", check=False)
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr


@once
def test_it_migrates_where_it_is_asked_to(
    installation: Installation, start_up: Callable[..., Up]
) -> None:
    installation.manage("migrate", "sessions", "zero", "--verbosity", "0")
    start_up("--migrate").wait_until_well()


def read(log: Path) -> str:
    return log.read_text()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
