"""A PostgreSQL server of a test's own, which it may stop as a power cut would."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.installation import free_port


def find_binaries() -> Path | None:
    """Return where PostgreSQL's server programs are: those of the newest version."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3])
    found = str(places[-1]) if places else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class OwnPostgresql:
    """A server with one empty database; it refuses to run as root, so root lends it a user."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        self._binaries = binaries
        self._directory = directory
        self._user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        if self._user:
            shutil.chown(directory, "postgres")
        self._run(
            "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._directory}"
        self._run("pg_ctl", "start", "-w", "-l", str(self._directory / "log"), "-o", options)

    def stop(self) -> None:
        """Stop it at once; what has not been committed is gone."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-w")

    def _run(self, program: str, *arguments: str) -> None:
        data = ["-D", str(self._directory / "data")]
        subprocess.run(
            [*self._user, str(self._binaries / program), *data, *arguments],
            cwd=self._directory,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


@pytest.fixture
def own_postgresql() -> Iterator[OwnPostgresql]:
    """A running server that is the test's alone."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(
            "no PostgreSQL server is installed here (on Debian: apt-get install postgresql)"
        )
    # Not pytest's own directory, into which only its user may look.
    directory = Path(tempfile.mkdtemp(prefix="mgx-postgresql-"))
    server = OwnPostgresql(binaries, directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)
