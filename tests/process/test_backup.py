"""A copy of the database made while the engine works is whole, and goes on where it was."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.invariants import assert_invariants
from tests.process.conftest import fresh_database
from tests.process.engine_cluster import Cluster, cluster
from tests.process.installation import Installation, eventually

__all__ = ["cluster"]

Note = Callable[[str, object], None]
_PENDING = "SELECT count(*) FROM workflow_step_approvals WHERE status = 'pending'"


@pytest.mark.promise("P24 the database copied under 20 runs, and restored elsewhere")
def test_a_copy_made_under_load_is_whole_and_goes_on(
    cluster: Cluster, tmp_path: Path, record_property: Note
) -> None:
    cluster.run("scenes.start(scenes.publish(scenes.STEPS), 20)")
    cluster.start()
    query = cluster.installation.query
    eventually(lambda: query(_PENDING) == [(20,)], 30, "the requests", cluster.log)
    cluster.run_in_background("decide_some(8)")
    eventually(lambda: query(_PENDING) == [(12,)], 30, "some decisions", cluster.log)
    directory = tmp_path / "restored"
    directory.mkdir()
    with copied(cluster.installation, directory) as copy, closing(Cluster(copy)) as restored:
        assert_invariants(copy.query)
        at_work = restored.live_runs() - 12
        restored.start()
        eventually(lambda: restored.live_runs() == 12, 30, "who was decided on", restored.log)
        assert copy.query(_PENDING) == [(12,)]
        restored.run_in_background("decide_everything()")
        restored.wait_for_the_end(60)
        assert restored.statuses() == {"completed": 20}
        restored.check()
    record_property(
        "figures", f"{at_work} at work and 12 waiting in the copy, all 20 completed there"
    )


@contextmanager
def copied(original: Installation, directory: Path) -> Iterator[Installation]:
    """Make an installation of a copy of another one's database, which is in use."""
    url = original.environment["DATABASE_URL"]
    if url.startswith("sqlite"):
        path = directory / "mgx.sqlite3"
        with (
            closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source,
            closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy, pages=64)
        yield Installation(directory, f"sqlite:///{path}")
        return
    if not (shutil.which("pg_dump") and shutil.which("pg_restore")):
        pytest.skip("there is no pg_dump here (on Debian: apt-get install postgresql-client)")
    dump = directory / "dump"
    run("pg_dump", "--format=custom", f"--file={dump}", url)
    with fresh_database(url) as copy_url:
        run("pg_restore", "--no-owner", f"--dbname={copy_url}", str(dump))
        yield Installation(directory, copy_url)


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=60)
