"""``manage.py up`` under ``kill -9``: whatever dies, work goes on, and nothing is left over."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.process.installation import Installation, Up, children, eventually


@pytest.fixture
def up(start_up: Callable[..., Up]) -> Up:
    """The whole thing, running."""
    running = start_up()
    running.wait_until_ready()
    running.wait_until_complete()
    return running


def queue_task(installation: Installation) -> Callable[[], bool]:
    """Queue a task; return whether it has run and been acknowledged, as a function."""
    path = installation.directory / uuid4().hex
    installation.shell(f"from django_q.tasks import async_task; async_task('os.mkdir', '{path}')")
    return lambda: (
        path.exists() and installation.query("SELECT count(*) FROM django_q_ormq") == [(0,)]
    )


def is_well(up: Up) -> bool:
    return len(up.roles()) == 8 and up.is_ready()


@pytest.mark.parametrize(
    "role", ["web", "main", "sentinel", "first worker", "second worker", "monitor", "pusher"]
)
def test_whatever_is_killed_comes_back(
    installation: Installation,
    up: Up,
    role: str,
    record_property: Callable[[str, object], None],
) -> None:
    before, started = up.roles(), time.monotonic()
    os.kill(before[role], signal.SIGKILL)
    eventually(lambda: before[role] not in up.roles().values(), 5, f"the {role} gone")
    eventually(lambda: is_well(up), 60, "all well", up.log)
    record_property("processes_seconds", round(time.monotonic() - started, 1))
    eventually(queue_task(installation), 60, "a task", up.log)
    record_property("task_seconds", round(time.monotonic() - started, 1))
    assert up.roles()["supervisor"] == before["supervisor"]
    eventually(lambda: installation.pids() <= set(up.roles().values()), 5, "no orphans")


@pytest.mark.parametrize("role", ["web", "main", "sentinel"])
def test_whatever_hangs_is_replaced(installation: Installation, up: Up, role: str) -> None:
    before = up.roles()[role]
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: up.roles().get(role) not in (None, before), 60, f"another {role}")
    eventually(lambda: is_well(up), 60, "all well", up.log)
    eventually(queue_task(installation), 30, "a task", up.log)
    assert before not in installation.pids()


def test_a_request_waits_while_the_web_process_is_replaced(up: Up) -> None:
    os.kill(up.roles()["web"], signal.SIGKILL)
    assert up.get("/livez") == (200, "ok\n")


def test_nothing_outlives_the_supervisor(installation: Installation, up: Up) -> None:
    up.process.send_signal(signal.SIGKILL)
    up.process.wait()
    eventually(lambda: not installation.pids(), 5, "every process gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked_to(installation: Installation, up: Up, number: int) -> None:
    started = time.monotonic()
    assert up.stop(number) == 0
    assert time.monotonic() - started < 8
    assert not installation.pids()
    assert "hard way" not in up.log.read_text()


def test_it_stops_while_it_starts(installation: Installation, start_up: Callable[..., Up]) -> None:
    up = start_up()
    eventually(lambda: children(up.process.pid), 30, "a child")
    assert up.stop() == 0
    assert not installation.pids()


def test_qcluster_alone_leaves_nothing_behind(installation: Installation, up: Up) -> None:
    """Its main process dies, not the supervisor: the rest of its group goes with it."""
    group = up.roles()
    os.kill(group["supervisor"], signal.SIGSTOP)
    try:
        os.kill(group["main"], signal.SIGKILL)
        gone = {group[role] for role in group if role not in ("supervisor", "web")}
        eventually(lambda: not gone & installation.pids(), 5, "the whole cluster gone")
    finally:
        os.kill(group["supervisor"], signal.SIGCONT)


def test_a_taken_port_is_said_at_once(start_up: Callable[..., Up], up: Up) -> None:
    second = start_up("--port", str(up.port))
    assert second.process.wait(60) == 1
    assert "cannot listen on 127.0.0.1" in second.log.read_text()


def test_it_asks_for_migrate_first(installation: Installation) -> None:
    installation.manage("migrate", "sessions", "zero", "--verbosity", "0")
    done = installation.manage("up", check=False)
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr


def test_what_dies_again_and_again_is_started_ever_more_slowly(up: Up) -> None:
    for _ in range(3):
        pid = eventually(lambda: up.roles().get("web"), 30, "a web process")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda p=pid: up.roles().get("web") not in (None, p), 30, "another one")
    pauses = [float(pause) for pause in re.findall(r"again in ([0-9.]+) s", up.log.read_text())]
    assert len(pauses) == 3
    assert 0 < pauses[1] < pauses[2]


def test_idle_it_takes_little_memory_and_time(
    up: Up, record_property: Callable[[str, object], None]
) -> None:
    time.sleep(5)
    pids = list(up.roles().values())
    busy, started = sum(map(cpu_seconds, pids)), time.monotonic()
    time.sleep(10)
    share = (sum(map(cpu_seconds, pids)) - busy) / (time.monotonic() - started)
    memory = sum(map(pss_megabytes, pids))
    record_property("idle", f"{memory:.0f} MB, {share:.1%} of a core")
    assert memory <= 400
    assert share <= 0.05  # 3 % on an idle machine; tests may share theirs.


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
