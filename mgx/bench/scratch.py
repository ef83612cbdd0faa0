"""A database that exists for one benchmark, and the engine that works on it."""

import contextlib
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import psycopg
from django.db import connection

from workflows.models import EngineDriver

_START_SECONDS = 30.0


@contextlib.contextmanager
def scratch_database(kind: str, server: str) -> Iterator[dict[str, str]]:
    """Yield the environment that points to a new database of ``kind``; it is dropped at the end.

    ``server`` is the address of any database of the PostgreSQL server to use.
    """
    with tempfile.TemporaryDirectory(prefix="mgx-bench-") as directory:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "mgx.bench.settings",
            "MGX_VAR": directory,
            "LOG_LEVEL": "WARNING",
        }
        if kind == "sqlite":
            environment["DATABASE_URL"] = f"sqlite:///{Path(directory) / 'bench.sqlite3'}"
            yield environment
            return
        name = f"mgx_bench_{secrets.token_hex(4)}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"'.encode())
            try:
                parts = urlsplit(server)
                environment["DATABASE_URL"] = urlunsplit(parts._replace(path=f"/{name}"))
                yield environment
            finally:
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@contextlib.contextmanager
def engine(workers: int) -> Iterator[list[int]]:
    """Run ``qcluster`` and yield the process ids of its workers once they are ready."""
    allow_many_sockets()
    cluster = subprocess.Popen(
        [sys.executable, "manage.py", "qcluster"],
        env={**os.environ, "MGX_WORKERS": str(workers)},
        start_new_session=True,
    )
    try:
        end = time.monotonic() + _START_SECONDS
        drivers = EngineDriver.objects.filter(fenced_at__isnull=True, stopped_at__isnull=True)
        while drivers.count() < workers:
            if time.monotonic() > end or cluster.poll() is not None:
                raise RuntimeError("The engine did not start")
            time.sleep(0.05)
        time.sleep(1.0)  # each worker learns how many share the work
        yield list(drivers.values_list("pid", flat=True))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(cluster.pid, signal.SIGKILL)
        cluster.wait()


@contextlib.contextmanager
def web() -> Iterator[tuple[int, int]]:
    """Run a web process and yield its port and its process id once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    allow_many_sockets()
    command = [sys.executable, "-m", "uvicorn", "mgx.asgi:application", "--port", str(port)]
    command += ["--ws", "websockets", "--ws-per-message-deflate", "false"]
    with subprocess.Popen([*command, "--log-level", "warning"]) as server:
        try:
            end = time.monotonic() + _START_SECONDS
            while not _answers(port):
                if time.monotonic() > end or server.poll() is not None:
                    raise RuntimeError("The web process did not start")
                time.sleep(0.05)
            yield port, server.pid
        finally:
            server.kill()


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/livez", timeout=1) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def tidy() -> None:
    """Do what autovacuum does within a minute or two in a database that lives."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def allow_many_sockets() -> None:
    """Raise the limit of open files to what the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has had resident, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError("The system does not tell the peak memory of a process")


def proportional_mb(pid: int) -> float:
    """Return the memory that a process takes now, its share of what several share, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("The system does not tell the memory of a process")
