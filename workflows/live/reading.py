"""What the tailer asks the database. Everything here blocks and runs in the tailer's thread."""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from workflows.events import event_document
from workflows.models import Event, EventStream


class Position(NamedTuple):
    """Where a workspace's stream ends, and up to where its beginning was pruned."""

    last: int
    pruned: int


def positions(workspace_ids: Iterable[UUID]) -> dict[UUID, Position]:
    """Return the position of each workspace's stream."""
    rows = EventStream.objects.filter(workspace_id__in=list(workspace_ids))
    return {
        workspace_id: Position(last, pruned)
        for workspace_id, last, pruned in rows.values_list("workspace_id", "last_seq", "pruned_seq")
    }


def frames_after(workspace_id: UUID, seq: int, limit: int) -> list[str] | None:
    """Return the frames of up to ``limit`` events that follow ``seq``.

    None if some of the events that follow it have been deleted meanwhile.
    """
    events = list(
        Event.objects.filter(workspace_id=workspace_id).after(seq).order_by("seq")[:limit]
    )
    if events and events[-1].seq != seq + len(events):
        return None
    return [_frame(event) for event in events]


class News(NamedTuple):
    """Frames that follow what was known, or None if some of them are gone; and the last event."""

    frames: list[str] | None
    last: int


def news(known: Mapping[UUID, int], limit: int) -> dict[UUID, News]:
    """Return what each workspace has beyond what is ``known``, up to ``limit`` frames of it."""
    return {
        workspace_id: News(frames_after(workspace_id, known[workspace_id], limit), position.last)
        for workspace_id, position in positions(known).items()
        if position.last > known[workspace_id]
    }


def _frame(event: Event) -> str:
    document = {"type": "event", "event": event_document(event)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
