"""What the page of a run shows: figures, picture, steps, the chosen step, latest events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import reverse

from workflows.events import PROGRESS
from workflows.models import Event, User, WorkflowExecution
from workflows.pages.chosen_step import ChosenStep
from workflows.pages.documents import show_json
from workflows.pages.graphs import Drawing, draw_definition, repeats, together
from workflows.pages.run_list import Entry, Line, RunTree
from workflows.pages.run_steps import RunStep, RunSteps
from workflows.pages.timeline import covered_seconds
from workflows.picture import Node
from workflows.services.explain import Reason, explain_execution

STEPS_A_PAGE: Final = 200
EVENTS_SHOWN: Final = 12
REASONS_SHOWN: Final = 4
#: Reasons that say no more than that the engine is at it.
_ORDINARY: Final = frozenset({"held", "claimable", "looked_at_again", "step_running"})
#: So many blocks can be unfolded by one address.
OPENED_AT_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class StepLine:
    """A line of the list of steps, as it is shown.

    Attributes:
        step: None on the line that unfolds a block or folds it again.
        href: chooses the step, or unfolds.
    """

    entry: Entry
    step: RunStep | None
    href: str
    depth: int
    hidden: int = 0


class ExecutionPage:
    """A run as it stands at `now`, with one of its steps chosen.

    Args:
        reader: who looks at it.
        chosen: the name of a step; `revision` and `view` say what of it is shown.
        opened: the blocks that are shown whole.
    """

    def __init__(
        self,
        execution: WorkflowExecution,
        now: datetime,
        reader: User,
        *,
        chosen: str = "",
        revision: int = 0,
        view: str = "",
        opened: tuple[str, ...] = (),
        page: int = 1,
    ) -> None:
        self.execution = execution
        self.now = now
        self.reader = reader
        self.page = page
        self._steps = RunSteps(execution, now)
        self._tree = RunTree(self._steps)
        self.chosen_name = chosen if self._steps.is_known(chosen) else ""
        self._revision = revision
        self._view = view
        self._opened = tuple(name for name in opened if name in self._tree.by_name)
        self._opened = self._opened[:OPENED_AT_MOST]

    @property
    def progress(self) -> str:
        """How many of the steps are done; a block is as many as stand in it."""
        return f"{self._tree.done:,} of {self._tree.total:,}"

    @property
    def failed(self) -> int:
        return self._tree.failed

    @property
    def status(self) -> str:
        """The run's status; one that is paused is shown so, whatever still ends in it."""
        run = self.execution
        return "paused" if run.is_paused and not run.is_ended else run.status

    @cached_property
    def reasons(self) -> list[Reason]:
        """What a live run waits for; nothing where the engine is at it."""
        reasons = explain_execution(self.execution, self.reader)
        return [reason for reason in reasons if reason.code not in _ORDINARY]

    @property
    def reasons_shown(self) -> list[Reason]:
        return self.reasons[:REASONS_SHOWN]

    @property
    def reasons_left(self) -> int:
        return len(self.reasons) - REASONS_SHOWN

    @property
    def running_seconds(self) -> float:
        """Running time, without the time in which only people were awaited."""
        since = self.execution.active_since
        current = max(0.0, (self.now - since).total_seconds()) if since else 0.0
        return self.execution.active_seconds + current

    @property
    def waited_seconds(self) -> float:
        """How long people were awaited; time in which several requests were open counts once."""
        return covered_seconds(self._steps.asked)

    @property
    def has_shortened(self) -> bool:
        """Whether the timeline shows a wait shorter than it was."""
        return self._steps.timeline.has_shortened

    @property
    def timeline_seconds(self) -> float:
        """How much time the timeline's axis shows."""
        return self._steps.timeline.seconds

    @cached_property
    def parent(self) -> tuple[str, str] | None:
        """The run that this one runs for as a sub-workflow: its address and its name."""
        if self.execution.parent_step_id is None:
            return None
        above = WorkflowExecution.objects.filter(
            workspace_id=self.execution.workspace_id, steps__id=self.execution.parent_step_id
        )
        found = above.values_list("id", "workflow__name", "number").first()
        if found is None:
            return None
        return reverse("execution", args=[found[0]]), f"{found[1]}, run {found[2]}"

    @cached_property
    def drawing(self) -> Drawing:
        """The run's graph, each step a link that chooses it."""
        statuses = self._tree.statuses()
        steps = list(self._steps.definitions.values())

        def make(definition: Mapping[str, Any]) -> Node:
            return self._node(definition, statuses.get(definition["name"], []))

        return draw_definition(
            steps, make, title=f"The {self._tree.total:,} steps of this run", prefix="run"
        )

    def _node(self, definition: Mapping[str, Any], statuses: list[str]) -> Node:
        """One step of the picture; one that runs for each item stands for all of them."""
        name = definition["name"]
        entry = self._tree.by_name.get(name)
        if entry is None or len(statuses) > 1:
            done = sum(status in ("completed", "skipped") for status in statuses)
            return Node(
                name=name,
                step_type=definition["step_type"],
                status=together(statuses),
                label=f"{done:,} of {len(statuses):,}" if len(statuses) > 1 else "",
                href=self._first_href(name),
                is_selected=self._steps.defined_name(self.chosen_name) == name,
            )
        step = self._steps.step(name)
        is_counted = step.is_block and step.row is not None and step.status != "skipped"
        times = self._tree.count(name)
        return Node(
            name=name,
            step_type=step.step_type,
            status=step.status,
            label=entry.counted if is_counted else step.word,
            note=step.note,
            href=self._href(name),
            is_selected=name == self.chosen_name,
            times="" if not repeats(definition) else "× n" if times is None else f"× {times:,}",
        )

    def _first_href(self, name: str) -> str:
        """Chooses of the steps with one definition the one that most needs to be seen, if any."""
        entries = [e for e in self._tree.by_name.values() if e.definition["name"] == name]
        loudest = together([entry.status for entry in entries])
        first = next((e for e in entries if e.status == loudest), None)
        return self._href(first.name) if first else ""

    def _href(self, name: str, **more: str | int) -> str:
        """The address that chooses a step, with all that is open left open."""
        query: dict[str, Any] = {"step": name, **more}
        if self._opened:
            query["open"] = self._opened
        if self.page > 1:
            query["page"] = self.page
        address = reverse("execution", args=[self.execution.pk])
        return f"{address}?{urlencode(query, doseq=True)}#step"

    def _fold_href(self, line: Line) -> str:
        """The address that unfolds a block, or folds it again."""
        name = line.entry.name
        opened = [each for each in self._opened if each != name]
        query: dict[str, Any] = {"step": self.chosen_name} if self.chosen_name else {}
        query["open"] = opened if line.is_opened else [*opened, name]
        if self.page > 1 and not line.is_opened:
            query["page"] = self.page
        address = reverse("execution", args=[self.execution.pk])
        return f"{address}?{urlencode(query, doseq=True)}#run-steps"

    @cached_property
    def _lines(self) -> list[Line]:
        return self._tree.lines(self._opened, self.chosen_name)

    @property
    def lines_total(self) -> int:
        return len(self._lines)

    @property
    def pages(self) -> tuple[int, int]:
        """The numbers of the previous and the next page of steps, 0 where there is none."""
        last = max(1, (len(self._lines) - 1) // STEPS_A_PAGE + 1)
        return min(self.page - 1, last), self.page + 1 if self.page < last else 0

    @cached_property
    def lines(self) -> list[StepLine]:
        """The lines of this page of the list."""
        start = (self.page - 1) * STEPS_A_PAGE
        return [self._line(line) for line in self._lines[start : start + STEPS_A_PAGE]]

    def _line(self, line: Line) -> StepLine:
        entry = line.entry
        if line.hidden or line.is_opened:
            return StepLine(entry, None, self._fold_href(line), entry.depth + 1, line.hidden)
        return StepLine(entry, self._steps.step(entry.name), self._href(entry.name), entry.depth)

    @cached_property
    def chosen(self) -> ChosenStep | None:
        """The chosen step with its data; None where none is, or none has this name."""
        name = self.chosen_name
        if not name:
            return None
        return ChosenStep(
            self._steps,
            name,
            self._tree.by_name.get(name),
            revision=self._revision,
            view=self._view,
            link=lambda **more: self._href(name, **more),
        )

    @cached_property
    def events(self) -> list[Event]:
        """The latest events, newest first; how far attempts are stands with their steps."""
        of_run = Event.objects.filter(workflow_execution_id=self.execution.pk)
        # Asked twice, for a key that is missing is neither equal nor unequal.
        of_run = of_run.filter(Q(data__activity__isnull=True) | ~Q(data__activity=PROGRESS))
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
