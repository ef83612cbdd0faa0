"""The steps of one run: each as it is defined, with its rows as far as it came."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from workflows.core.names import name_in_definition
from workflows.core.revisions import rows_of_today
from workflows.core.states import TERMINAL_STEP_STATUSES
from workflows.events import EventType
from workflows.models import Event, WorkflowExecution, WorkflowStepExecution
from workflows.pages.documents import shorten
from workflows.pages.graphs import (
    branches_of,
    edges_inside,
    edges_of,
    every_step,
    nested_of,
    steps_of,
)
from workflows.pages.run_progress import latest_progress
from workflows.pages.timeline import Bar, Part, Stretch, Timeline, parts_of
from workflows.services.awaited_events import awaited_events
from workflows.services.timeline import entries_with_several_attempts
from workflows.wording import approval_look

#: Agents, sub-workflows and branches are named for at most so many steps of a run.
NAMED_AT_MOST: Final = 500

SKIP_REASONS: Final = {
    "condition_false": "its condition was not met",
    "branch_not_taken": "its branch was not taken",
    "upstream_skipped": "a step before it was skipped",
    "upstream_failed": "a step before it failed",
    "trigger_rule_not_met": "its rule asked for another outcome before it",
}


@dataclass(frozen=True, slots=True)
class ChildRun:
    """The run that a step of type `workflow` started."""

    id: UUID
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a step. `status`: of a gate that was decided, what was decided."""

    row: WorkflowStepExecution
    status: str


@dataclass(frozen=True, slots=True)
class RunStep:
    """One step of a run.

    Attributes:
        row: its latest revision; None while it has not moved.
        note: why it is where it is, in a few words.
        request_id: the request for a decision that it opened.
        child: the run of another workflow that it started.
        progress: what its attempt says of how far it is, while it runs.
        earlier: its revisions before the latest, the newest first.
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
    child: ChildRun | None = None
    earlier: tuple[Revision, ...] = ()
    progress: str = ""

    @property
    def step_type(self) -> str:
        return str(self.definition["step_type"])

    @property
    def is_block(self) -> bool:
        return bool(nested_of(self.definition))

    @property
    def attempts(self) -> int:
        return self.row.attempts if self.row else 0

    @property
    def again_at(self) -> datetime | None:
        """When a step that is retried is tried again."""
        return self.row.due_at if self.row and self.row.status == "retrying" else None

    @property
    def until(self) -> datetime | None:
        """Until when a step waits that waits for a time."""
        is_timed = self.row is not None and self.step_type == "wait" and self.status == "waiting"
        return self.row.due_at if self.row and is_timed else None


class RunSteps:
    """All steps of a run as they stand at `now`, in a few queries, however many there are.

    `definitions` are the steps at the top, `every` also those inside blocks, by their names;
    `asked` is when its requests were open.
    """

    def __init__(self, execution: WorkflowExecution, now: datetime) -> None:
        self.execution = execution
        self.now = now
        steps = steps_of(execution.version.definition)
        self.definitions = {step["name"]: step for step in steps}
        self.every = {step["name"]: step for step in every_step(steps)}
        self._needs = _needs(self.definitions.values())
        self._branches = {
            name: (step["name"], value)
            for step in self.every.values()
            for name, value in branches_of(step).items()
        }
        self.rows: dict[str, list[WorkflowStepExecution]] = {}
        for row in execution.steps.defer("input_data", "output_data").order_by("revision"):
            self.rows.setdefault(row.name, []).append(row)
        today = rows_of_today({name: rows[-1] for name, rows in self.rows.items()})
        self.rows = {name: self.rows[name] for name in today}
        requests = execution.approvals.order_by("requested_at", "id").values(
            "step_execution_id", "id", "status", "requested_at", "responded_at"
        )
        self._requests = {
            each["step_execution_id"]: (each["id"], each["status"]) for each in requests
        }
        end = execution.completed_at or now
        self.asked = [
            Stretch.between(each["requested_at"], each["responded_at"] or end, is_wait=True)
            for each in requests
        ]
        self._agents = self._agent_names()

    def latest(self) -> list[WorkflowStepExecution]:
        """The latest revision of each step that has moved."""
        return [rows[-1] for rows in self.rows.values()]

    def defined_name(self, name: str) -> str:
        """The name in the definition of a step of the run."""
        return name_in_definition(name, self.every)

    def needs_of(self, name: str) -> list[str]:
        """The steps of the run that a step needs, in its block or at the top."""
        defined = self.defined_name(name)
        suffix = name[len(defined) :]
        return [needed + suffix for needed in self._needs.get(defined, ())]

    def is_known(self, name: str) -> bool:
        """Whether the run has a step of this name, or may still come to it."""
        return name in self.rows or name in self.every

    def step(self, name: str, revision: int = 0) -> RunStep:
        """A step in its latest revision, or in an earlier one."""
        rows = self.rows.get(name, [])
        row = rows[-1] if rows else None
        chosen = next((each for each in rows if each.revision == revision), row)
        request_id = self._request(chosen)[0]
        return RunStep(
            name=name,
            definition=self.every[self.defined_name(name)],
            row=chosen,
            status=self.status(name, chosen),
            word=self._word(name, chosen),
            note=self._note(name, chosen),
            agent=self._agents.get(chosen.pk, "") if chosen else "",
            seconds=self.seconds(chosen) if chosen else None,
            bars=tuple(bar for each in rows for bar in self._bars(each)),
            request_id=request_id,
            child=self._children.get(chosen.pk) if chosen else None,
            earlier=tuple(self.revision(each) for each in reversed(rows) if each is not row),
            progress=self._progress.get(chosen.pk, "") if chosen else "",
        )

    def revision(self, row: WorkflowStepExecution) -> Revision:
        """A revision of a step, as it is listed among others."""
        _, decided = self._request(row)
        is_decided = row.status == "completed" and decided not in ("", "pending")
        return Revision(row, decided if is_decided else row.status)

    @cached_property
    def timeline(self) -> Timeline:
        return Timeline([part.stretch for parts in self._parts.values() for part in parts])

    @cached_property
    def _parts(self) -> dict[UUID, list[Part]]:
        """What the time of each revision of each step went to."""
        rows = [row for rows in self.rows.values() for row in rows]
        attempts = {each.row.pk: each.attempts for each in entries_with_several_attempts(rows)}
        return {row.pk: parts_of(row, attempts.get(row.pk, ()), self.now) for row in rows}

    def _bars(self, row: WorkflowStepExecution) -> list[tuple[Bar, str]]:
        parts = self._parts[row.pk]
        return [(self.timeline.bar(part.stretch), part.tone) for part in parts if part.tone]

    def href(self, name: str) -> str:
        """The address that chooses a step."""
        address = reverse("execution", args=[self.execution.pk])
        return f"{address}?{urlencode({'step': name})}#step"

    def status(self, name: str, row: WorkflowStepExecution | None) -> str:
        """A step's status; one inside a block that was skipped is skipped with it."""
        if row is not None:
            return row.status
        if self._is_in_skipped(name):
            return "skipped"
        return "cancelled" if self.execution.is_ended else "pending"

    def seconds(self, row: WorkflowStepExecution) -> float | None:
        """How long a step has taken, or takes so far."""
        if row.started_at is None:
            return None
        return ((row.completed_at or self.now) - row.started_at).total_seconds()

    def _request(self, row: WorkflowStepExecution | None) -> tuple[UUID | None, str]:
        return self._requests.get(row.pk, (None, "")) if row else (None, "")

    def _is_in_skipped(self, name: str) -> bool:
        block = self._block_of.get(self.defined_name(name), "")
        while block:
            rows = self.rows.get(block)
            if rows:
                return rows[-1].status == "skipped"
            block = self._block_of.get(block, "")
        return False

    @cached_property
    def _block_of(self) -> dict[str, str]:
        return {
            inner["name"]: step["name"] for step in self.every.values() for inner in nested_of(step)
        }

    def _word(self, name: str, row: WorkflowStepExecution | None) -> str:
        if row is None:
            is_left = self.execution.is_ended and not self._is_in_skipped(name)
            return "Not started" if is_left else ""
        _, decided = self._request(row)
        if decided not in ("", "pending"):
            return approval_look(decided).word
        if row.revision > 1 and row.status == "completed":
            return f"Revision {row.revision}"
        return f"{row.attempts} attempts" if row.attempts > 1 and row.status == "completed" else ""

    def _note(self, name: str, row: WorkflowStepExecution | None) -> str:
        if row is None or row.status == "pending":
            return self._note_of_unmoved(name)
        if row.status == "skipped":
            return self._why_skipped(name, row)
        config = self.every[self.defined_name(name)].get("config") or {}
        if row.error_message and row.status in ("failed", "timeout", "retrying"):
            goes_on = row.status == "failed" and config.get("continue_on_error")
            return shorten(row.error_message) + ("; the run goes on" if goes_on else "")
        notes = [f"revision {row.revision}"] if row.revised_at else []
        if agent := self._agents.get(row.pk):
            notes.append(f"on {agent}")
        if row.is_fallback:
            is_over = row.status in TERMINAL_STEP_STATUSES
            notes.append("ended by its fallback" if is_over else "its fallback runs")
        if event := self._events.get(row.pk):
            notes.append(f"for the event {event}")
        if branch := self._taken.get(row.pk):
            notes.append(f"branch “{shorten(branch, 40)}”")
        return ", ".join(notes)

    def _note_of_unmoved(self, name: str) -> str:
        """What a step that has not moved waits for; of what it needs, that which has not ended."""
        if self._is_in_skipped(name):
            return "its block was skipped"
        needed = self._needs.get(self.defined_name(name), ())
        suffix = name[len(self.defined_name(name)) :]
        if not self.execution.is_ended:
            ended = {
                each
                for each in needed
                if (rows := self.rows.get(each + suffix))
                and rows[-1].status in TERMINAL_STEP_STATUSES
            }
            needed = tuple(each for each in needed if each not in ended) or needed
        after = ", ".join(needed[:3]) + (" …" if len(needed) > 3 else "")
        return f"after {after}" if needed else ""

    def _why_skipped(self, name: str, row: WorkflowStepExecution) -> str:
        branch = self._branches.get(self.defined_name(name))
        if row.skip_reason == "branch_not_taken" and branch:
            return f"branch “{shorten(branch[1], 40)}” of {branch[0]} was not taken"
        return SKIP_REASONS.get(row.skip_reason, row.skip_reason.replace("_", " "))

    @cached_property
    def _taken(self) -> dict[UUID, str]:
        """Which branch each condition took, as its output says."""
        if not self._branches:
            return {}
        conditions = self.execution.steps.filter(step_type="condition", status="completed")
        pairs = conditions.values_list("id", "output_data__branch")[:NAMED_AT_MOST]
        return {pk: _as_written(branch) for pk, branch in pairs if branch is not None}

    @cached_property
    def _progress(self) -> dict[UUID, str]:
        return latest_progress(self.latest())

    @cached_property
    def _children(self) -> dict[UUID, ChildRun]:
        """The runs that steps of type `workflow` started, as far as they exist."""
        ids = [row.pk for row in self.latest() if row.step_type == "workflow"][:NAMED_AT_MOST]
        if not ids:
            return {}
        runs = WorkflowExecution.objects.filter(
            workspace_id=self.execution.workspace_id, parent_step_id__in=ids
        ).order_by("number")
        told = runs.values_list("parent_step_id", "id", "workflow__name", "number", "status")
        return {
            step_id: ChildRun(pk, f"{name}, run {number}", status)
            for step_id, pk, name, number, status in told
            if step_id
        }

    @cached_property
    def _events(self) -> dict[UUID, str]:
        """The events that steps of type `wait` wait for."""
        written = {
            row.pk: event
            for row in self.latest()
            if row.step_type == "wait"
            and row.status == "waiting"
            and (event := self.every[self.defined_name(row.name)]["config"].get("event"))
        }
        return awaited_events(dict(list(written.items())[:NAMED_AT_MOST]))

    def _agent_names(self) -> dict[UUID, str]:
        """Who took each agent's step, as the events tell; a row keeps only an identifier."""
        ids = [row.pk for row in self.latest() if row.agent_instance_id][:NAMED_AT_MOST]
        if not ids:
            return {}
        started = Event.objects.filter(
            workflow_execution_id=self.execution.pk,
            workflow_step_id__in=ids,
            event_type=EventType.STEP_STARTED.value,
        )
        pairs = started.order_by("seq").values_list("workflow_step_id", "data__agent")
        return {step_id: name for step_id, name in pairs if step_id and name}


def _as_written(value: Any) -> str:
    """A value as a definition names it; SQLite reads the text `false` as the value."""
    return value if isinstance(value, str) else json.dumps(value)


def _needs(steps: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What each step needs among its siblings, by its name in the definition."""
    top = list(steps)
    edges = list(edges_of(top))
    for step in every_step(top):
        if nested_of(step):
            edges += edges_inside(step)
    needs: dict[str, tuple[str, ...]] = {}
    for needed, name in edges:
        needs[name] = (*needs.get(name, ()), needed)
    return needs
