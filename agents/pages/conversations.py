"""What an agent was told and said, for people to read: by step and attempt, the latest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from agents.models import AgentInstance, AgentMessage
from agents.pages.assignments import steps_by_id
from workflows.models import WorkflowStepExecution
from workflows.pages.documents import show_json

#: Messages of the latest conversations, and of one step that was asked for.
_LATEST: Final = 40
_OF_A_STEP: Final = 400
#: What agents are told besides what they are asked, by the key of the message's data that says so.
_TOLD: Final = {"memory_keys": "Remembered", "is_feedback": "Sent back with"}


@dataclass(frozen=True, slots=True)
class Line:
    """A message. `gap`: how many before it are gone."""

    message: AgentMessage
    gap: int

    @property
    def word(self) -> str:
        """What kind of message it is."""
        told = next((word for key, word in _TOLD.items() if key in self.message.data), "")
        return told or self.message.get_role_display()

    @property
    def data(self) -> str:
        """What else there is to it, as JSON."""
        more = {key: part for key, part in self.message.data.items() if key not in _TOLD}
        return show_json(more) if more else ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said in one attempt. `step`: None once its run is no longer kept."""

    step_execution_id: UUID
    attempt: int
    step: WorkflowStepExecution | None
    lines: Sequence[Line]

    @property
    def began_at(self) -> Any:
        """When it was written down."""
        return self.lines[0].message.created_at


def conversations(agent: AgentInstance, asked: str = "") -> list[Conversation]:
    """Return the latest conversations of an agent, or those of the step whose id is `asked` for.

    Two queries.
    """
    found = AgentMessage.objects.filter(agent_instance=agent, workspace_id=agent.workspace_id)
    try:
        rows = list(found.filter(step_execution_id=UUID(asked)).order_by("-id")[:_OF_A_STEP])
    except ValueError:
        rows = list(found.order_by("-id")[:_LATEST])
    rows.sort(key=_attempt_of, reverse=True)
    newest = {key: max(row.id for row in group) for key, group in groupby(rows, _attempt_of)}
    rows.sort(key=lambda row: (-newest[_attempt_of(row)], row.position))
    steps = steps_by_id(agent.workspace_id, {row.step_execution_id for row in rows})
    return [
        Conversation(step_id, attempt, steps.get(step_id), _lines(list(group)))
        for (step_id, attempt), group in groupby(rows, _attempt_of)
    ]


def _attempt_of(row: AgentMessage) -> tuple[UUID, int]:
    return row.step_execution_id, row.attempt


def _lines(rows: Sequence[AgentMessage]) -> list[Line]:
    positions = [-1, *(row.position for row in rows)]
    return [
        Line(row, row.position - before - 1) for row, before in zip(rows, positions, strict=False)
    ]
