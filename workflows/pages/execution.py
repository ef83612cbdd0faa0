"""What the page of a run shows: figures, picture, steps, the chosen step, latest events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from workflows.core.states import TERMINAL_STEP_STATUSES
from workflows.models import Event, WorkflowExecution, WorkflowStepExecution
from workflows.pages.documents import show_json
from workflows.pages.graphs import (
    REDRAW_AT_MOST,
    REDUCED_NOTE,
    draw_steps,
    edges_of,
    is_reduced,
)
from workflows.pages.run_steps import RunStep, RunSteps
from workflows.picture import Node

STEPS_A_PAGE: Final = 200
EVENTS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class ChosenStep:
    """The step whose data stands beside the list."""

    step: RunStep
    facts: list[tuple[str, str]]
    input: str
    output: str


class ExecutionPage:
    """A run as it stands at `now`, with one of its steps chosen."""

    def __init__(
        self, execution: WorkflowExecution, now: datetime, *, chosen: str = "", page: int = 1
    ) -> None:
        self.execution = execution
        self.now = now
        self.chosen_name = chosen
        self.page = page
        self._steps = RunSteps(execution, now)

    @property
    def total(self) -> int:
        return len(self._steps.definitions)

    @property
    def done(self) -> int:
        return sum(row.status in TERMINAL_STEP_STATUSES for row in self._steps.latest())

    @property
    def failed(self) -> int:
        return sum(row.status in ("failed", "timeout") for row in self._steps.latest())

    @property
    def running_seconds(self) -> float:
        """Running time, without the time in which only people were awaited."""
        since = self.execution.active_since
        current = max(0.0, (self.now - since).total_seconds()) if since else 0.0
        return self.execution.active_seconds + current

    @property
    def waited_seconds(self) -> float:
        """How long people were awaited, all gates together."""
        rows = [row for rows in self._steps.rows.values() for row in rows]
        gates = [row for row in rows if row.step_type == "approval"]
        return sum(self._steps.seconds(row) or 0.0 for row in gates)

    @property
    def has_shortened(self) -> bool:
        """Whether the timeline shows a wait shorter than it was."""
        return self._steps.timeline.has_shortened

    @property
    def is_redrawn(self) -> bool:
        """Whether the picture follows events; a huge one waits for the next visit."""
        return self.total <= REDRAW_AT_MOST

    @property
    def graph_note(self) -> str:
        """What has to be said of the picture, if anything."""
        definitions = self._steps.definitions
        return REDUCED_NOTE if is_reduced(definitions, edges_of(definitions.values())) else ""

    def picture(self) -> str:
        """The run's graph, each step a link that chooses it."""
        steps = [self._steps.step(name) for name in self._steps.definitions]
        return draw_steps(
            [self._node(step) for step in steps],
            edges_of(self._steps.definitions.values()),
            title=f"The {self.total} steps of this run",
            prefix="run",
        )

    def _node(self, step: RunStep) -> Node:
        return Node(
            name=step.name,
            step_type=step.step_type,
            status=step.status,
            label=step.word,
            note=step.note,
            href=self._steps.href(step.name),
            is_selected=step.name == self.chosen_name,
        )

    @property
    def pages(self) -> tuple[int, int]:
        """The numbers of the previous and the next page of steps, 0 where there is none."""
        last = (self.total - 1) // STEPS_A_PAGE + 1
        return self.page - 1, self.page + 1 if self.page < last else 0

    @cached_property
    def steps(self) -> list[tuple[RunStep, str]]:
        """The steps of this page of the list, each with the address that chooses it."""
        start = (self.page - 1) * STEPS_A_PAGE
        names = list(self._steps.definitions)[start : start + STEPS_A_PAGE]
        return [(self._steps.step(name), self._steps.href(name)) for name in names]

    @cached_property
    def chosen(self) -> ChosenStep | None:
        """The chosen step with its data; None where none is, or none has this name."""
        if self.chosen_name not in self._steps.definitions:
            return None
        step = self._steps.step(self.chosen_name)
        shown_input = shown_output = ""
        if step.row is not None:
            data = WorkflowStepExecution.objects.only("input_data", "output_data").get(
                pk=step.row.pk
            )
            shown_input = show_json(data.input_data) if data.input_data is not None else ""
            is_done = step.status == "completed"
            shown_output = show_json(data.output_data) if is_done else ""
        return ChosenStep(step, _facts(step), shown_input, shown_output)

    @cached_property
    def events(self) -> list[Event]:
        """The latest events, newest first."""
        of_run = Event.objects.filter(workflow_execution_id=self.execution.pk)
        return list(of_run.order_by("-seq")[:EVENTS_SHOWN])

    @cached_property
    def variables(self) -> str:
        """What the run was started with."""
        return show_json(self.execution.input_variables) if self.execution.input_variables else ""

    @cached_property
    def result(self) -> str:
        """What the run came to, once it has completed."""
        output = self.execution.output_data
        return show_json(output) if output is not None else ""


def _facts(step: RunStep) -> list[tuple[str, str]]:
    definition, row = step.definition, step.row
    limit = definition.get("timeout_seconds")
    facts = [
        ("Type", step.step_type),
        ("Task", (definition.get("config") or {}).get("task", "")),
        ("Agent", step.agent),
        ("Waits for", ", ".join(definition.get("depends_on_steps") or ())),
        ("Condition", definition.get("condition_expression") or ""),
        ("Time limit", f"{limit:,} s" if limit else ""),
        ("Attempts", str(row.attempts) if row and row.attempts else ""),
        ("Revision", str(row.revision) if row and row.revision > 1 else ""),
        ("Error code", row.error_code if row else ""),
    ]
    return [(name, words) for name, words in facts if words]
