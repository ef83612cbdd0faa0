"""What an earlier release left in the middle goes on after the upgrade: tests/golden."""

import gzip
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.invariants import assert_invariants
from tests.process.engine_cluster import IS_LONG, Cluster
from tests.process.installation import ROOT, Installation

Note = Callable[[str, object], None]
Query = Callable[[str], list[Any]]
FIXTURES = sorted((ROOT / "tests/golden").glob("*.json.gz"))[0 if IS_LONG else -1 :]

pytestmark = pytest.mark.skipif(
    os.environ.get("DATABASE_URL", "").startswith("postgres"),
    reason="the fixtures are databases of SQLite; the migrations are the same",
)


_MOMENT = re.compile(r"(?<=')\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?=')")
_RUN = 'INSERT INTO "workflows_workflowexecution"'
_RECORD = 'INSERT INTO "approvals_approvaldecision"'


def as_if_left_just_now(statements: list[str]) -> str:
    """Move every moment along, so that what was due soon when the work stopped is due soon; but not
    those of the record of decisions, which are part of what its hashes say."""
    made = max(
        datetime.fromisoformat(moment)
        for statement in statements
        if statement.startswith(_RUN)
        for moment in _MOMENT.findall(statement)[:1]
    )
    since = datetime.now(UTC).replace(tzinfo=None) - made

    def later(moment: re.Match[str]) -> str:
        return str(datetime.fromisoformat(moment[0]) + since)

    return "\n".join(
        statement if statement.startswith(_RECORD) else _MOMENT.sub(later, statement)
        for statement in statements
    )


_COLUMNS = (
    "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
)


def assert_takes_the_rows_of_before(query: Query, before: list[tuple[str, str]]) -> None:
    """Processes of the release before still write, while one after the other is replaced."""
    assert set(before) <= set(query(_COLUMNS)), "a column is gone that they fill"
    tables = {table for table, _ in before}
    required = query(f'{_COLUMNS} AND c."notnull" AND c.dflt_value IS NULL')
    assert [c for c in required if c[0] in tables and c not in before] == []


@pytest.fixture
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """An installation whose database is as that release left it."""
    path = tmp_path / "mgx.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        statements = json.loads(gzip.decompress(request.param.read_bytes()))
        database.executescript(as_if_left_just_now(statements))
    cluster = Cluster(Installation(tmp_path, f"sqlite:///{path}"))
    yield cluster
    cluster.close()


@pytest.mark.promise("P22 databases of earlier releases, with paused and waiting runs")
@pytest.mark.parametrize("left", FIXTURES, indirect=True, ids=lambda path: path.name)
def test_what_an_earlier_release_left_goes_on(left: Cluster, record_property: Note) -> None:
    query = left.installation.query
    before = query("SELECT id, version_id, status FROM workflows_workflowexecution ORDER BY id")
    assert {status for *_, status in before} == {"paused", "pending", "running", "waiting"}
    columns = query(_COLUMNS)
    left.installation.manage("migrate", "--verbosity", "0")
    assert_takes_the_rows_of_before(query, columns)
    assert_invariants(query)
    left.start()
    left.run_in_background("decide_everything()")
    left.run(
        "from workflows.services.verbs import resume_execution;"
        "paused = scenes.WorkflowExecution.objects.filter(is_paused=True);"
        "[resume_execution(run.id, user=None) for run in paused]"
    )
    left.wait_for_the_end(60)
    assert left.statuses() == {"completed": len(before)}
    pinned = query("SELECT id, version_id FROM workflows_workflowexecution ORDER BY id")
    assert pinned == [(run, version) for run, version, _ in before]
    left.check()
    record_property("figures", f"{len(before)} of {len(before)} runs completed")
