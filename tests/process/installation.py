"""A whole installation in a directory of its own, started as a user starts it."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]


def eventually(find: Callable[[], Any], seconds: float, what: str, log: Path | None = None) -> Any:
    """Return what ``find`` returns once it is true; fail when it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > deadline:
            said = log.read_text()[-3000:] if log else ""
            pytest.fail(f"Not within {seconds:.0f} s: {what}\n{said}")
        time.sleep(0.05)
    return found


class Installation:
    """A migrated database and a state directory; ``environment`` is what its processes see."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        foreign = ("MGX_", "TEST_", "PYTHONDONTWRITEBYTECODE")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(foreign)},
            "MGX_VAR": str(directory),
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "mgx.settings",
        }

    def manage(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=options.pop("check", True),
            **options,
        )

    def query(self, sql: str) -> list[Any]:
        """Ask the database, without Django."""
        url = self.environment["DATABASE_URL"]
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as database:
                return database.execute(sql).fetchall()
        with psycopg.connect(url) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[arg-type]

    def shell(self, code: str) -> str:
        """Run Python code with everything set up; return what it prints."""
        return self.manage("shell", "--no-imports", "--command", code).stdout.strip()

    def pids(self) -> set[int]:
        """Return all living processes of this installation, whoever their parent is."""
        marker = f"MGX_VAR={self.directory}\0".encode()
        return {pid for pid in _all_pids() if marker in _read(pid, "environ") and _is_running(pid)}


class Up:
    """``manage.py up``, and the tree of its processes."""

    _COMMAND = (sys.executable, str(ROOT / "manage.py"), "up")

    def __init__(self, installation: Installation, *arguments: str) -> None:
        self.installation = installation
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = installation.directory / f"up-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self._COMMAND, "--port", str(self.port), *arguments],
                env=installation.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, path: str, timeout: float = 30) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def is_ready(self) -> bool:
        return self.get("/readyz", timeout=5)[0] == 200

    def is_well(self) -> bool:
        """Whether every process is there and ready for work."""
        return len(self.roles()) == 8 and self.is_ready()

    def wait_until_well(self) -> None:
        eventually(self.is_well, 60, "all well", self.log)

    def roles(self) -> dict[str, int]:
        """Return the pid of each process: web, main, sentinel, and its children by age."""
        supervisor = self.process.pid
        roles = {"supervisor": supervisor}
        for pid in children(supervisor):
            roles["web" if b"supervisor.web" in _read(pid, "cmdline") else "main"] = pid
        for pid in children(roles.get("main", 0)):
            roles["sentinel"] = pid
        names = ("first worker", "second worker", "monitor", "pusher")
        roles.update(zip(names, children(roles.get("sentinel", 0)), strict=False))
        return roles

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def end(self) -> None:
        """End it at once, if it still runs; its children end with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def children(parent: int) -> list[int]:
    """Return the living children of a process, the oldest first."""
    return sorted(pid for pid in _all_pids() if parent and _stat(pid)[1:2] == [str(parent)])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> list[str]:
    """Return the fields of a living process's ``stat`` that follow its name; [] for a zombie."""
    fields = _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()
    return [] if fields[:1] in ([], ["Z"], ["X"]) else fields


def _is_running(pid: int) -> bool:
    return bool(_stat(pid))
