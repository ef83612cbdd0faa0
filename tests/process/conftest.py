"""Fixtures: a fresh installation on the kind of database that DATABASE_URL names."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from tests.process.installation import Installation, Up


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database to copy: the URL of one."""
    directory = tmp_path_factory.mktemp("template")
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        url = f"sqlite:///{directory / 'mgx.sqlite3'}"
        Installation(directory, url).manage("migrate", "--verbosity", "0")
        yield url
        return
    with fresh_database(url) as made:
        Installation(directory, made).manage("migrate", "--verbosity", "0")
        yield made


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """Make an empty database on the server that ``url`` names; yield its own URL."""
    name = f"mgx_{uuid4().hex[:12]}"
    _on_postgresql(url, f'CREATE DATABASE "{name}"', "postgres")
    try:
        yield _with_database(url, name)
    finally:
        _on_postgresql(url, f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")


@contextmanager
def fresh_installation(template: str, directory: Path) -> Iterator[Installation]:
    """Make an installation from a copy of the template; nothing of it survives."""
    if template.startswith("sqlite"):
        shutil.copy(template.removeprefix("sqlite:///"), directory / "mgx.sqlite3")
        made = Installation(directory, f"sqlite:///{directory / 'mgx.sqlite3'}")
    else:
        name = f"mgx_{uuid4().hex[:12]}"
        original = urlsplit(template).path.removeprefix("/")
        _on_postgresql(template, f'CREATE DATABASE "{name}" TEMPLATE "{original}"', "postgres")
        made = Installation(directory, _with_database(template, name))
    try:
        yield made
    finally:
        for pid in made.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not template.startswith("sqlite"):
            _on_postgresql(template, f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")


@pytest.fixture
def installation(template: str, tmp_path: Path) -> Iterator[Installation]:
    """An installation for one test, with nothing running yet."""
    with fresh_installation(template, tmp_path) as made:
        yield made


@pytest.fixture
def start_up(installation: Installation) -> Iterator[Callable[..., Up]]:
    """Return a function that starts ``manage.py up`` on the test's own installation."""
    started: list[Up] = []

    def start(*arguments: str) -> Up:
        started.append(Up(installation, *arguments))
        return started[-1]

    yield start
    for up in started:
        up.end()


@pytest.fixture(scope="module")
def shared_up(
    template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Up]]:
    """Return a function that returns the ``manage.py up`` which the module's tests share.

    It is whole again before each test; if it cannot be, another one takes its place.
    """
    with fresh_installation(template, tmp_path_factory.mktemp("shared")) as made:
        running: list[Up] = []

        def get(*arguments: str) -> Up:
            if not running or running[-1].process.poll() is not None:
                running.append(Up(made, *arguments))
            running[-1].wait_until_well()
            return running[-1]

        yield get
        for up in running:
            up.end()


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _on_postgresql(url: str, statement: str, database: str = "") -> None:
    where = _with_database(url, database) if database else url
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
