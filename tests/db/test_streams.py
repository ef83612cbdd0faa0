"""What readers of the stream make of events: each once, whoever dies and whoever else reads."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from workflows import streams
from workflows.clock import database_now
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Event, EventStream, StreamCursor, WebhookDelivery
from workflows.streams import Reading, begin_at_the_end

pytestmark = pytest.mark.django_db

WANTED = EventType.WORKFLOW_STARTED


class Reader:
    """Makes a delivery of each event that it wants; fails at those that it cannot read."""

    def __init__(self) -> None:
        self.types: set[str] = {WANTED}
        self.unreadable: set[int] = set()
        self.asked: list[int] = []

    def wanted(self, workspace_id: UUID) -> set[str]:
        return self.types

    def rows(self, workspace_id: UUID, events: Any, now: datetime) -> list[WebhookDelivery]:
        self.asked += [event.seq for event in events]
        if self.unreadable & {event.seq for event in events}:
            raise ValueError("unreadable")
        return [
            WebhookDelivery(
                workspace_id=workspace_id, event_seq=e.seq, event_type=e.event_type, created_at=now
            )
            for e in events
        ]


@pytest.fixture
def reader(settings: Any) -> Reader:
    settings.STREAM_READERS = {"tests": "unused"}
    return Reader()


@pytest.fixture
def reading(reader: Reader, workspace: Any) -> Reading:
    return Reading({"tests": reader})


def happen(workspace: Any, *types: EventType) -> None:
    with transaction.atomic():
        append_events([EventDraft(kind, workspace.pk) for kind in types], database_now())


def made() -> list[int]:
    return sorted(WebhookDelivery.objects.values_list("event_seq", flat=True))


def cursor() -> int:
    return StreamCursor.objects.get(reader="tests").seq


def test_makes_a_row_of_each_event_that_is_wanted(reading: Reading, workspace: Any) -> None:
    happen(workspace, WANTED, EventType.STEP_STARTED, WANTED)
    reading.read_news()
    reading.read_news()
    assert made() == [1, 3]
    assert cursor() == 3


def test_reads_on_where_a_batch_ends(
    reading: Reading, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_EVENTS_A_READ", 2)
    happen(workspace, *[WANTED] * 5)
    assert reading.read_news()
    assert made() == [1, 2]
    while reading.read_news():
        pass
    assert made() == [1, 2, 3, 4, 5]


def test_of_two_processes_one_writes(reader: Reader, reading: Reading, workspace: Any) -> None:
    other = Reading({"tests": reader})
    happen(workspace, WANTED)
    place = reading._places()[0]
    other.read_news()
    reading._read(place)  # it had looked before the other one wrote
    assert made() == [1]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no rows")
@pytest.mark.django_db(transaction=True)
def test_of_two_processes_one_reads_while_the_other_passes_on(
    reader: Reader, reading: Reading, workspace: Any
) -> None:
    happen(workspace, WANTED)
    [place] = reading._places()
    with streams._held(place) as is_held:
        assert is_held
        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(_read_elsewhere, reader).result(10) is False
    assert reader.asked == []
    reading.read_news()
    assert made() == [1]


def _read_elsewhere(reader: Reader) -> bool:
    try:
        return Reading({"tests": reader}).read_news()
    finally:
        connection.close()


def test_whoever_dies_before_the_commit_has_done_nothing(
    reading: Reading, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(workspace, WANTED)

    def die(rows: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(streams, "insert_objects", die)
        with pytest.raises(SystemExit):
            reading.read_news()
    assert (made(), cursor()) == ([], 0)
    reading.read_news()
    assert (made(), cursor()) == ([1], 1)


def test_writes_nothing_where_nothing_is_wanted(reading: Reading, workspace: Any) -> None:
    happen(workspace, EventType.STEP_STARTED)
    reading.read_news()
    assert cursor() == 0
    happen(workspace, WANTED)
    reading.read_news()
    assert (made(), cursor()) == ([2], 2)


def test_stores_a_cursor_that_stays_too_far_behind(
    reading: Reading, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_UNSTORED_AT_MOST", 2)
    happen(workspace, *[EventType.STEP_STARTED] * 3)
    reading.read_news()
    assert cursor() == 3


def test_passes_over_an_event_that_it_cannot_read(
    reader: Reader, reading: Reading, workspace: Any
) -> None:
    reader.unreadable = {2}
    happen(workspace, *[WANTED] * 3)
    reading.read_news()
    assert (made(), cursor()) == ([1, 3], 3)


def test_is_asked_for_nothing_but_what_is_wanted(
    reader: Reader, reading: Reading, workspace: Any, django_assert_num_queries: Any
) -> None:
    reader.types = set()
    happen(workspace, WANTED)
    with django_assert_num_queries(0):  # of Django's; the look at the cursors is not counted
        reading.read_news()


def test_a_new_workspace_is_read_from_its_beginning_and_an_old_one_from_now(
    reader: Reader, workspace: Any, make_workspace: Any
) -> None:
    old = make_workspace("old")
    StreamCursor.objects.filter(workspace=old).delete()  # as from before there was the reader
    happen(old, WANTED)
    happen(workspace, WANTED)
    begin_at_the_end(["tests"])
    begin_at_the_end(["tests"])
    happen(old, WANTED)
    Reading({"tests": reader}).read_news()
    rows = WebhookDelivery.objects.values_list("workspace__slug", "event_seq")
    assert sorted(rows) == [("acme", 1), ("old", 2)]


def test_needs_no_event_that_was_deleted(reading: Reading, workspace: Any) -> None:
    happen(workspace, WANTED, WANTED, WANTED)
    Event.objects.filter(seq__lte=2).delete()
    EventStream.objects.update(pruned_seq=2)
    reading.read_news()
    assert (made(), cursor()) == ([3], 3)
