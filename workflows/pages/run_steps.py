"""The steps of one run: each as it is defined, with its rows as far as it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from workflows.events import EventType
from workflows.models import Event, WorkflowExecution, WorkflowStepExecution
from workflows.pages.documents import shorten
from workflows.pages.graphs import steps_of
from workflows.pages.timeline import Bar, Stretch, Timeline
from workflows.wording import approval_look, status_look

#: Agents are named for at most so many steps of a page.
AGENTS_NAMED: Final = 500

SKIP_REASONS: Final = {
    "condition_false": "its condition was not met",
    "branch_not_taken": "its branch was not taken",
    "upstream_skipped": "a step before it was skipped",
    "upstream_failed": "a step before it failed",
    "trigger_rule_not_met": "its rule asked for another outcome before it",
}


@dataclass(frozen=True, slots=True)
class RunStep:
    """One step of a run.

    Attributes:
        row: its latest revision; None while it has not moved.
        note: why it is where it is, in a few words.
        request_id: the request for a decision that it opened.
    """

    name: str
    definition: Mapping[str, Any]
    row: WorkflowStepExecution | None
    status: str
    word: str
    note: str
    agent: str
    seconds: float | None
    bars: tuple[tuple[Bar, str], ...]
    request_id: UUID | None

    @property
    def step_type(self) -> str:
        return str(self.definition["step_type"])

    @property
    def attempts(self) -> int:
        return self.row.attempts if self.row else 0

    @property
    def due_at(self) -> datetime | None:
        """When a step that is retried goes on."""
        return self.row.due_at if self.row and self.row.status == "retrying" else None


class RunSteps:
    """All steps of a run as they stand at `now`; five queries, however many there are."""

    def __init__(self, execution: WorkflowExecution, now: datetime) -> None:
        self.execution = execution
        self.now = now
        self.definitions = {s["name"]: s for s in steps_of(execution.version.definition)}
        self.rows: dict[str, list[WorkflowStepExecution]] = {}
        for row in execution.steps.defer("input_data", "output_data").order_by("revision"):
            self.rows.setdefault(row.name, []).append(row)
        requests = execution.approvals.order_by("revision_count")
        self._requests = {
            step_id: (request_id, status)
            for step_id, request_id, status in requests.values_list(
                "step_execution_id", "id", "status"
            )
        }
        self._agents = self._agent_names()

    def latest(self) -> list[WorkflowStepExecution]:
        """The latest revision of each step that has moved."""
        return [rows[-1] for rows in self.rows.values()]

    def step(self, name: str) -> RunStep:
        rows = self.rows.get(name, [])
        row = rows[-1] if rows else None
        return RunStep(
            name=name,
            definition=self.definitions[name],
            row=row,
            status=self.status(row),
            word=self._word(row),
            note=self._note(name, row),
            agent=self._agents.get(row.pk, "") if row else "",
            seconds=self.seconds(row) if row else None,
            bars=tuple(
                (self.timeline.bar(stretch), status_look(each.status).tone)
                for each in rows
                if (stretch := self._stretch(each)) is not None
            ),
            request_id=self._request(row)[0],
        )

    @cached_property
    def timeline(self) -> Timeline:
        rows = [row for rows in self.rows.values() for row in rows]
        return Timeline([found for row in rows if (found := self._stretch(row)) is not None])

    def href(self, name: str) -> str:
        """The address that chooses a step."""
        address = reverse("execution", args=[self.execution.pk])
        return f"{address}?{urlencode({'step': name})}#step"

    def status(self, row: WorkflowStepExecution | None) -> str:
        if row is not None:
            return row.status
        return "cancelled" if self.execution.is_ended else "pending"

    def seconds(self, row: WorkflowStepExecution) -> float | None:
        """How long a step has taken, or takes so far."""
        if row.started_at is None:
            return None
        return ((row.completed_at or self.now) - row.started_at).total_seconds()

    def _request(self, row: WorkflowStepExecution | None) -> tuple[UUID | None, str]:
        return self._requests.get(row.pk, (None, "")) if row else (None, "")

    def _word(self, row: WorkflowStepExecution | None) -> str:
        if row is None:
            return "Not started" if self.execution.is_ended else ""
        if row.revision > 1:
            return f"Revision {row.revision}"
        _, decided = self._request(row)
        if decided not in ("", "pending"):
            return approval_look(decided).word
        return f"{row.attempts} attempts" if row.attempts > 1 and row.status == "completed" else ""

    def _note(self, name: str, row: WorkflowStepExecution | None) -> str:
        if row is None:
            needed = self.definitions[name].get("depends_on_steps") or ()
            after = ", ".join(needed[:3]) + (" …" if len(needed) > 3 else "")
            return f"after {after}" if needed else ""
        if row.status == "skipped":
            return SKIP_REASONS.get(row.skip_reason, row.skip_reason.replace("_", " "))
        if row.error_message and row.status in ("failed", "timeout", "retrying"):
            config = self.definitions[name].get("config") or {}
            goes_on = row.status == "failed" and config.get("continue_on_error")
            return shorten(row.error_message) + ("; the run goes on" if goes_on else "")
        agent = self._agents.get(row.pk)
        return f"on {agent}" if agent else ""

    def _stretch(self, row: WorkflowStepExecution) -> Stretch | None:
        if row.started_at is None:
            return None
        end = max(row.completed_at or self.now, row.started_at)
        is_wait = row.step_type == "approval" or row.status == "waiting"
        return Stretch(row.started_at.timestamp(), end.timestamp(), is_wait)

    def _agent_names(self) -> dict[UUID, str]:
        """Who took each agent's step, as the events tell; a row keeps only an identifier."""
        ids = [row.pk for row in self.latest() if row.agent_instance_id][:AGENTS_NAMED]
        if not ids:
            return {}
        started = Event.objects.filter(
            workflow_execution_id=self.execution.pk,
            workflow_step_id__in=ids,
            event_type=EventType.STEP_STARTED.value,
        )
        pairs = started.order_by("seq").values_list("workflow_step_id", "data__agent")
        return {step_id: name for step_id, name in pairs if step_id and name}
