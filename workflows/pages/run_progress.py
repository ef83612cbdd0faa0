"""What attempts that run have told last of how far they are (`StepContext.tell`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from workflows.events import PROGRESS, EventType
from workflows.models import Event, WorkflowStepExecution
from workflows.pages.documents import shorten

#: Messages that are looked through for the latest of each step.
_LOOKED_THROUGH: Final = 200
_WORDS: Final = 160


def latest_progress(rows: Iterable[WorkflowStepExecution]) -> dict[UUID, str]:
    """Return the latest message of each attempt that is under way, by the step's row; one query.

    The message is what the attempt says, cut short; `rows` are of one run.
    """
    running = {row.pk: row for row in rows if row.status == "running"}
    if not running:
        return {}
    told = Event.objects.filter(
        workflow_execution_id=next(iter(running.values())).execution_id,
        workflow_step_id__in=running,
        event_type__in=[EventType.AGENT_ACTIVITY.value, EventType.STEP_PROGRESS.value],
        data__activity=PROGRESS,
    ).order_by("-seq")
    found: dict[UUID, str] = {}
    fields = ("workflow_step_id", "data__attempt", "message")
    for step_id, attempt, message in told.values_list(*fields)[:_LOOKED_THROUGH]:
        row = running[step_id]
        if attempt == row.attempts and step_id not in found:
            found[step_id] = shorten(message.removeprefix(f"{row.name}: "), _WORDS)
    return found
