"""The chosen step of a run: its facts, its data, its attempts and revisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, NamedTuple

from django.conf import settings
from django.utils.module_loading import import_string

from workflows.core.states import TERMINAL_STEP_STATUSES
from workflows.events import EventType
from workflows.models import Event, WorkflowStepExecution
from workflows.pages.documents import shorten, show_json
from workflows.pages.graphs import repeats
from workflows.pages.run_list import Entry
from workflows.pages.run_steps import RunStep, RunSteps
from workflows.services.timeline import Attempt, entries_of

ATTEMPTS_SHOWN: Final = 20

VIEWS: Final = ("data", "attempts")

#: What became of an attempt, as a status and in words of its own.
_OUTCOMES: Final = {"abandoned": "cancelled", "asked": "waiting"}
_WORDS: Final = {"abandoned": "Abandoned", "asked": "Asked people"}


class Fact(NamedTuple):
    """Something that is known of a step. `href`: where there is more of it."""

    name: str
    words: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One attempt, with what it failed with."""

    number: int
    status: str
    word: str
    started_at: datetime | None
    seconds: float | None
    error: str
    agent: str


@dataclass(frozen=True, slots=True)
class RevisionLine:
    """One revision, and the address that shows it."""

    number: int
    status: str
    seconds: float | None
    href: str
    is_shown: bool


class ChosenStep:
    """The step whose data stands beside the list.

    Args:
        entry: its place in the tree; None for a step that no longer has one.
        link: makes the address of this step with more in it.
    """

    def __init__(
        self,
        steps: RunSteps,
        name: str,
        entry: Entry | None,
        *,
        revision: int,
        view: str,
        link: Callable[..., str],
    ) -> None:
        self._steps = steps
        self._link = link
        self.entry = entry
        self.step = steps.step(name, revision)
        self.view = view if view in VIEWS else VIEWS[0]

    @cached_property
    def _data(self) -> WorkflowStepExecution | None:
        row = self.step.row
        if row is None:
            return None
        rows = WorkflowStepExecution.objects.only("input_data", "output_data")
        data: WorkflowStepExecution = rows.get(pk=row.pk)
        return data

    @property
    def input(self) -> str:
        data = self._data
        return show_json(data.input_data) if data and data.input_data is not None else ""

    @property
    def output(self) -> str:
        data = self._data
        return show_json(data.output_data) if data and self.step.status == "completed" else ""

    @property
    def tabs(self) -> list[tuple[str, str, int, bool]]:
        """Of each view: the words, the address, how much is in it, and whether it is shown."""
        row = self.step.row
        more = {"revision": row.revision} if row and self._is_old else {}
        count = row.attempts if row else 0
        return [
            ("Data", self._link(**more), 0, self.view == "data"),
            ("Attempts", self._link(view="attempts", **more), count, self.view == "attempts"),
        ]

    @property
    def _is_old(self) -> bool:
        rows = self._steps.rows.get(self.step.name, [])
        return bool(rows) and self.step.row is not rows[-1]

    @property
    def has_tabs(self) -> bool:
        """Whether there is more to see than the data; a block has no attempts of its own."""
        return self.step.row is not None and self.step.attempts > 0 and not self.step.is_block

    @cached_property
    def attempts(self) -> list[AttemptLine]:
        """The attempts as their events tell them, the latest first."""
        row = self.step.row
        if row is None:
            return []
        [entry] = entries_of([row])
        errors = self._errors(row)
        last = entry.attempts[-1] if entry.attempts else None
        lines = [
            self._attempt(each, errors.get(each.number, ""), is_last=each is last)
            for each in entry.attempts
        ]
        return lines[::-1][:ATTEMPTS_SHOWN]

    def _errors(self, row: WorkflowStepExecution) -> dict[int, str]:
        """What each attempt that was tried again failed with."""
        told = Event.objects.of_execution(row.execution_id).filter(
            workflow_step_id=row.pk, event_type=EventType.STEP_RETRYING.value
        )
        data = told.order_by("-seq").values_list("data", flat=True)[:ATTEMPTS_SHOWN]
        return {each.get("attempt", 0): each.get("error_message", "") for each in data}

    def _attempt(self, attempt: Attempt, error: str, *, is_last: bool) -> AttemptLine:
        row = self.step.row
        seconds = None
        if attempt.started_at:
            end = attempt.ended_at or self._steps.now
            seconds = max(0.0, (end - attempt.started_at).total_seconds())
        status = _OUTCOMES.get(attempt.outcome, attempt.outcome)
        code = attempt.error_code
        if is_last and row and not error:
            if self._ended_by_output:
                # The event tells what the step came to; this attempt had failed before.
                status, code = "failed", row.error_code
            if row.status == "timeout":
                status = "timeout"
            error = row.error_message if status in ("failed", "timeout") else ""
        words = shorten(error, 400)
        if code and status in ("failed", "timeout"):
            words = f"{code}: {words}" if words else code
        return AttemptLine(
            number=attempt.number,
            status=status,
            word=_WORDS.get(attempt.outcome, ""),
            started_at=attempt.started_at,
            seconds=seconds,
            error=words,
            agent=attempt.agent,
        )

    @cached_property
    def revisions(self) -> list[RevisionLine]:
        """All revisions where there are several, the latest first."""
        rows = self._steps.rows.get(self.step.name, [])
        if len(rows) < 2:
            return []
        return [
            RevisionLine(
                row.revision,
                self._steps.revision(row).status,
                self._steps.seconds(row),
                self._link() if row is rows[-1] else self._link(revision=row.revision),
                row is self.step.row,
            )
            for row in reversed(rows)
        ]

    @property
    def facts(self) -> list[Fact]:
        """What is known of the step besides its data."""
        step, row = self.step, self.step.row
        config = step.definition.get("config") or {}
        limit = step.definition.get("timeout_seconds")
        facts: list[tuple[str, ...]] = [
            ("Type", _type_of(step)),
            ("Task", config.get("task", "")),
            ("Workflow", config.get("workflow", "")),
            ("Agent", step.agent),
            *self._told,
            ("Stands in", row.parent if row else ""),
            ("Waits for", ", ".join(step.definition.get("depends_on_steps") or ())),
            ("Runs if", step.definition.get("condition_expression") or ""),
            ("Runs for", _repeats_for(config)),
            ("Queue", config.get("queue") or ""),
            ("Time limit", f"{limit:,} s" if limit else ""),
            ("Attempts", str(step.attempts) if step.attempts and not step.is_block else ""),
            ("Revision", str(row.revision) if row and row.revision > 1 else ""),
            ("Asked to change", row.feedback if row else ""),
            ("Error code", row.error_code if row else ""),
            ("Inside", self.entry.progress if self.entry and step.is_block else ""),
            ("Skipped", step.note if step.status == "skipped" else ""),
        ]
        known = (Fact(*each) for each in facts)
        return [fact._replace(words=shorten(fact.words, 300)) for fact in known if fact.words]

    @property
    def _told(self) -> list[Fact]:
        """What the app knows whose step it is (`settings.STEP_TELLERS`)."""
        row = self.step.row
        path = settings.STEP_TELLERS.get(row.step_type) if row else None
        return import_string(path)(row) if path else []

    @property
    def _ended_by_output(self) -> bool:
        """Whether the definition's output took the place of one that no attempt brought."""
        row = self.step.row
        fallback = (self.step.definition.get("config") or {}).get("fallback") or {}
        is_over = row is not None and row.is_fallback and row.status == "completed"
        return is_over and not (fallback.get("task") or fallback.get("agent_definition_id"))

    @property
    def fallback(self) -> str:
        """What took the step's place once its attempts were used up, in words; or nothing."""
        row = self.step.row
        if row is None or not row.is_fallback:
            return ""
        fallback = (self.step.definition.get("config") or {}).get("fallback") or {}
        is_over = row.status in TERMINAL_STEP_STATUSES
        if task := fallback.get("task"):
            return f"the task {task} {'ran' if is_over else 'runs'} in its place"
        if agent := fallback.get("agent_definition_id"):
            return f"the agent {agent} {'ran' if is_over else 'runs'} in its place"
        return "the output that its definition names was taken"


def _type_of(step: RunStep) -> str:
    config = step.definition.get("config") or {}
    if not repeats(step.definition):
        return step.step_type
    return f"{step.step_type}, {'for each item' if config.get('for_each') is not None else 'loop'}"


def _repeats_for(config: dict[str, object]) -> str:
    items = config.get("for_each")
    if isinstance(items, list):
        return f"{len(items):,} items"
    if items:
        return f"each of {items}"
    if until := config.get("repeat_until"):
        return f"rounds until {until}, at most {config.get('max_iterations') or 100}"
    return ""
