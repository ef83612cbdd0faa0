"""Many rows in one statement, the same on both databases."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from approvals.models import WorkflowStepApproval
from workflows import bulk
from workflows.bulk import (
    Column,
    as_moment,
    as_uuid,
    insert_objects,
    insert_rows,
    select,
    together,
    update_rows,
    wake_engine,
)
from workflows.core.errors import UnstorableError
from workflows.core.ids import uuid7
from workflows.dialects import RawJson
from workflows.events import EventDraft, EventType, append_events
from workflows.models import EngineDriver, Event, Timer, Workspace

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
DRIVER = (
    Column("id", "uuid"),
    Column("host", "text"),
    Column("pid", "bigint"),
    Column("process", "text"),
    Column("started_at", "timestamptz"),
    Column("heartbeat_at", "timestamptz"),
    Column("stopped_at", "timestamptz", keeps=True),
)
TABLE = EngineDriver._meta.db_table


def insert_driver(**values: Any) -> UUID:
    defaults = {"id": uuid7(), "host": "h", "pid": 1, "process": "", "started_at": NOW}
    row = defaults | {"heartbeat_at": NOW, "stopped_at": None} | values
    insert_rows(TABLE, DRIVER, [[row[column.name] for column in DRIVER]])
    return row["id"]


@pytest.mark.parametrize(
    "moment",
    [
        NOW,
        NOW.replace(microsecond=0),
        NOW.astimezone(timezone(timedelta(hours=5, minutes=30))),
        datetime.min.replace(year=1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_moments_are_the_same_for_raw_statements_and_for_the_orm(moment: datetime) -> None:
    driver_id = insert_driver(heartbeat_at=moment)
    assert EngineDriver.objects.get(id=driver_id).heartbeat_at == moment
    [(found, text)] = select(
        f"SELECT heartbeat_at, coalesce(heartbeat_at, NULL) FROM {TABLE} WHERE heartbeat_at = %s",
        moment,
    )
    assert as_moment(found) == as_moment(text) == moment
    EngineDriver.objects.update(heartbeat_at=moment)
    [(found,)] = select(f"SELECT heartbeat_at FROM {TABLE}")
    assert as_moment(found) == moment
    assert as_moment(found).utcoffset() == timedelta(0)  # type: ignore[union-attr]


def test_a_moment_that_an_update_returns_is_one_too() -> None:
    insert_driver()
    [(found,)] = select(f"UPDATE {TABLE} SET pid = 2 WHERE pid = %s RETURNING heartbeat_at", 1)
    assert as_moment(found) == NOW
    assert as_moment(None) is None


def test_identifiers_are_found_alone_and_in_lists() -> None:
    ids = [insert_driver() for _ in range(3)]
    rows = select(f"SELECT id FROM {TABLE} WHERE id = ANY(%s) ORDER BY id", ids[:2])
    assert [as_uuid(row[0]) for row in rows] == sorted(ids[:2])
    assert select(f"SELECT id FROM {TABLE} WHERE id = ANY(%s)", []) == []


def test_an_update_changes_the_rows_it_names_and_keeps_what_it_is_told_to() -> None:
    one, other, untouched = (insert_driver(stopped_at=NOW) for _ in range(3))
    columns = (DRIVER[0], DRIVER[1], DRIVER[6])
    update_rows(TABLE, columns, [(one, "new'; --", None), (other, "ö\N{SNOWMAN}", None)])
    hosts = dict(EngineDriver.objects.values_list("id", "host"))
    assert hosts == {one: "new'; --", other: "ö\N{SNOWMAN}", untouched: "h"}
    assert set(EngineDriver.objects.values_list("stopped_at", flat=True)) == {NOW}


def test_a_guard_keeps_rows_as_they_are() -> None:
    one, other = insert_driver(pid=1), insert_driver(pid=2)
    update_rows(TABLE, DRIVER[:2], [(one, "x"), (other, "x")], guard=f"{TABLE}.pid = 2")
    assert dict(EngineDriver.objects.values_list("id", "host")) == {one: "h", other: "x"}


def test_nothing_is_written_where_there_are_no_rows(
    django_assert_num_queries: Any,
) -> None:
    with django_assert_num_queries(0):
        insert_rows(TABLE, DRIVER, [])
        update_rows(TABLE, DRIVER, [])
        insert_objects([])


def test_objects_are_inserted_as_the_orm_would(workspace: Workspace) -> None:
    payload = {"ü": [1, 1.5, None, True, "\\u0041", 10**30], "big": 1e22}
    request = WorkflowStepApproval(
        workspace=workspace,
        title="T",
        approval_data=payload,
        response_data=None,
        digest="d",
        requested_at=NOW,
        required_approvers=["a"],
    )
    insert_objects([request])
    found = WorkflowStepApproval.objects.get(id=request.id)
    request.id = uuid7()
    request.save()
    by_orm = WorkflowStepApproval.objects.get(id=request.id)
    for field in WorkflowStepApproval._meta.concrete_fields:
        if field.name not in ("id", "created_at", "updated_at"):
            assert getattr(found, field.attname) == getattr(by_orm, field.attname), field.name
    assert WorkflowStepApproval.objects.filter(response_data__isnull=True).exists()


def test_what_cannot_be_stored_as_json_is_refused(workspace: Workspace) -> None:
    request = WorkflowStepApproval(
        workspace=workspace, title="T", approval_data={"x": "\0"}, requested_at=NOW
    )
    with pytest.raises(UnstorableError):
        insert_objects([request])


def test_json_is_kept_as_its_text_says(workspace: Workspace) -> None:
    insert_objects([WorkflowStepApproval(workspace=workspace, title="T", requested_at=NOW)])
    request = WorkflowStepApproval.objects.get()
    columns = (Column("id", "uuid"), Column("approval_data", "jsonb"))
    update_rows(request._meta.db_table, columns, [(request.id, RawJson('{"a":"ß"}'))])
    assert WorkflowStepApproval.objects.get().approval_data == {"a": "ß"}
    update_rows(request._meta.db_table, columns, [(request.id, {"a": [1]})])
    assert WorkflowStepApproval.objects.get().approval_data == {"a": [1]}


def test_what_the_driver_raises_comes_out_as_djangos_error(workspace: Workspace) -> None:
    """Whoever catches an outage of the database catches these too."""
    insert_driver(id=UUID(int=1))
    with pytest.raises(IntegrityError):
        insert_driver(id=UUID(int=1))


def test_a_wrong_statement_raises_djangos_error() -> None:
    with pytest.raises(DatabaseError):
        select("SELECT nothing FROM nowhere")


def test_an_error_in_writes_sent_together_comes_out_as_djangos_error() -> None:
    insert_driver(id=UUID(int=1))
    with pytest.raises(IntegrityError), together():
        insert_driver(id=UUID(int=1))


def test_writes_sent_together_are_all_there(workspace: Workspace, other_workspace: Any) -> None:
    one, other = insert_driver(pid=1), uuid7()
    events = [EventDraft(EventType.AGENT_ACTIVITY, w.id) for w in (workspace, other_workspace) * 2]
    with together():
        update_rows(TABLE, DRIVER[:2], [(one, "changed")])
        insert_driver(id=other, pid=2)
        wake_engine()
        append_events(events, NOW)
    assert dict(EngineDriver.objects.values_list("id", "host")) == {one: "changed", other: "h"}
    for stream in (workspace, other_workspace):
        seqs = Event.objects.filter(workspace=stream).order_by("seq").values_list("seq", flat=True)
        assert list(seqs) == [1, 2]


def test_of_writes_that_an_error_interrupts_none_is_sent() -> None:
    def write_and_fail() -> None:
        with together():
            insert_driver()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), transaction.atomic():
        write_and_fail()
    assert not EngineDriver.objects.exists()


def test_many_rows_are_written_at_once(workspace: Workspace) -> None:
    timers = [
        Timer(workspace=workspace, kind="k", subject_id=uuid7(), due_at=NOW) for _ in range(3_000)
    ]
    insert_objects(timers)
    assert Timer.objects.count() == 3_000


@pytest.mark.parametrize("most", [10, 250, 10_000])
def test_what_is_too_large_for_one_statement_is_written_with_several(
    workspace: Workspace, other_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(bulk, "_LARGEST", most)
    both = [workspace, other_workspace]
    columns = (Column("id", "uuid"), Column("settings", "jsonb"))
    rows = [
        (each.pk, RawJson(f'{{"x": "{"y" * 180}{number}"}}')) for number, each in enumerate(both)
    ]
    sent: list[str] = []
    execute = bulk._execute

    def counted(sql: str, parameters: Any) -> None:
        sent.append(sql)
        execute(sql, parameters)

    monkeypatch.setattr(bulk, "_execute", counted)
    with together():
        driver = insert_driver()
        update_rows(Workspace._meta.db_table, columns, rows)
        append_events([EventDraft(EventType.STEP_STARTED, workspace.pk)], NOW)
        wake_engine()
    for number, each in enumerate(both):
        each.refresh_from_db()
        assert each.settings == {"x": "y" * 180 + str(number)}
    assert EngineDriver.objects.filter(id=driver).exists()
    assert Event.objects.filter(workspace_id=workspace.pk).count() == 1
    if connection.vendor == "postgresql":
        assert len(sent) == (1 if most == 10_000 else 2)
