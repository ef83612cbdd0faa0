"""Readers of the event stream behind the scenes: what they make of events, each event once.

A reader (``settings.STREAM_READERS``) turns events into rows: calls to be made, mail to be sent.
It has a cursor in each workspace, which one process at a time holds. Its rows and the cursor's
next position commit together, and the cursor moves by a conditional update. Whoever writes
events does nothing for the readers, and waits for none.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Model
from django.utils.module_loading import import_string

from workflows.bulk import as_uuid, insert_objects, select
from workflows.clock import database_now
from workflows.models import Event, EventStream, StreamCursor

logger = logging.getLogger("workflows.streams")

_EVENTS_A_READ = 100
#: How far a cursor may stay behind where there was nothing to read: moving it is a commit.
_UNSTORED_AT_MOST = 10_000


class StreamReader(Protocol):
    """What makes rows of events."""

    def wanted(self, workspace_id: UUID) -> Collection[str]:
        """Return the types of events of which something is made in a workspace now."""
        ...

    def rows(self, workspace_id: UUID, events: Sequence[Event], now: datetime) -> Sequence[Model]:
        """Return new rows of one model, whose keys are given; write nothing.

        It may be asked twice for the same events; one answer is written.
        """
        ...


class _Place(NamedTuple):
    """Where a reader stands in a workspace, and where the workspace's stream ends."""

    reader: str
    workspace_id: UUID
    seq: int
    last: int


def load_readers() -> dict[str, StreamReader]:
    """Return the readers of this installation by their names."""
    return {name: import_string(path)() for name, path in settings.STREAM_READERS.items()}


def open_stream(workspace_id: UUID) -> None:
    """Make the stream of a new workspace, for everybody to read from its first event."""
    EventStream.objects.create(workspace_id=workspace_id)
    StreamCursor.objects.bulk_create(
        StreamCursor(workspace_id=workspace_id, reader=name) for name in settings.STREAM_READERS
    )


def begin_at_the_end(readers: Iterable[str]) -> None:
    """Give readers that are new here a cursor: they tell of nothing that happened before them."""
    for name in readers:
        known = StreamCursor.objects.filter(reader=name).values("workspace_id")
        StreamCursor.objects.bulk_create(
            [
                StreamCursor(workspace_id=stream.workspace_id, reader=name, seq=stream.last_seq)
                for stream in EventStream.objects.exclude(workspace_id__in=known)
            ],
            ignore_conflicts=True,
        )


class Reading:
    """How far this process has read: beyond a cursor where nothing was to be written."""

    def __init__(self, readers: dict[str, StreamReader]) -> None:
        self._readers = readers
        self._looked: dict[tuple[str, UUID], int] = {}

    def read_news(self) -> bool:
        """Read what is new to each reader, a batch at most; return whether there may be more."""
        found = [self._read(place) for place in self._places()]
        return any(found)

    def _places(self) -> list[_Place]:
        rows = select(
            "SELECT c.reader, c.workspace_id, c.seq, s.last_seq FROM workflows_streamcursor c"
            " JOIN workflows_eventstream s ON s.workspace_id = c.workspace_id"
            " WHERE c.seq < s.last_seq AND c.reader = ANY(%s)",
            list(self._readers),
        )
        return [_Place(name, as_uuid(found), seq, last) for name, found, seq, last in rows]

    def _read(self, place: _Place) -> bool:
        key = (place.reader, place.workspace_id)
        looked = max(place.seq, self._looked.get(key, 0))
        if looked >= place.last:
            return False
        # Asked after the stream's end was read: whoever wants more from now on wants later events.
        wanted = self._readers[place.reader].wanted(place.workspace_id)
        if not wanted:
            self._pass_over(place)
            return False
        with _held(place) as is_held:
            return is_held and self._read_on(place, looked, wanted)

    def _read_on(self, place: _Place, looked: int, wanted: Collection[str]) -> bool:
        found = Event.objects.filter(
            workspace_id=place.workspace_id,
            seq__gt=looked,
            seq__lte=place.last,
            event_type__in=wanted,
        )
        events = list(found.order_by("seq")[:_EVENTS_A_READ])
        is_whole = len(events) < _EVENTS_A_READ
        if events:
            end = place.last if is_whole else events[-1].seq
            self._take_carefully(place, events, end)
        else:
            self._pass_over(place)
        return not is_whole

    def _pass_over(self, place: _Place) -> None:
        """Remember that there is nothing for a reader up to where the stream ends."""
        self._looked[place.reader, place.workspace_id] = place.last
        if place.last - place.seq > _UNSTORED_AT_MOST:
            self._take(place, [], place.last)

    def _take_carefully(self, place: _Place, events: list[Event], end: int) -> None:
        """Write what the reader makes of events; leave out an event that it cannot read."""
        try:
            self._take(place, events, end)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("%s cannot read events; it takes them one by one", place.reader)
            for event in events:
                try:
                    self._take(place, [event], event.seq)
                except (OperationalError, InterfaceError):
                    raise
                except Exception:
                    logger.exception("%s passes over event %s", place.reader, event.uuid)
                    self._take(place, [], event.seq)
                place = place._replace(seq=event.seq)

    def _take(self, place: _Place, events: list[Event], end: int) -> None:
        reader = self._readers[place.reader]
        rows: Sequence[Model] = []
        if events:
            with _apart():
                rows = reader.rows(place.workspace_id, events, database_now())
        cursor = StreamCursor.objects.filter(
            workspace_id=place.workspace_id, reader=place.reader, seq=place.seq
        )
        with transaction.atomic():
            if cursor.update(seq=end):
                insert_objects(rows)
        self._looked.pop((place.reader, place.workspace_id), None)


@contextmanager
def _held(place: _Place) -> Iterator[bool]:
    """Tell whether this process is the one that reads on from a place, for the block's time.

    On SQLite holding it would hold up every writer: there several may read, and one writes.
    """
    if connection.vendor != "postgresql":
        yield True
        return
    with transaction.atomic():
        yield bool(
            select(
                "SELECT seq FROM workflows_streamcursor"
                " WHERE reader = %s AND workspace_id = %s AND seq = %s FOR UPDATE SKIP LOCKED",
                place.reader, place.workspace_id, place.seq,
            )
        )  # fmt: skip


def _apart() -> AbstractContextManager[Any]:
    """Let a statement that fails in the block leave the transaction usable, if there is one."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()
