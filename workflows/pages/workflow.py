"""What the page of a workflow shows: its picture, what the draft changes, the start form, runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from workflows.core.errors import Problem
from workflows.core.validation import Report
from workflows.models import Workflow, WorkflowExecution, WorkflowSchedule, WorkflowVersion
from workflows.pages.draft_changes import StepChange, find_changes
from workflows.pages.graphs import Drawing, draw_definition, every_step, repeats, steps_of
from workflows.pages.start_form import StartForm
from workflows.picture import Node
from workflows.policies import PREVENT_SELF_APPROVAL
from workflows.services.definitions import draft_document, validate_document
from workflows.services.metrics import WorkflowMetrics, window_start, workflow_metrics

RUNS_SHOWN: Final = 8
VERSIONS_SHOWN: Final = 6
SCHEDULES_SHOWN: Final = 20
CHANGES_SHOWN: Final = 100
PROBLEMS_SHOWN: Final = 10
DAYS_COUNTED: Final = 30

#: The second line of a step in the picture, by what the draft does to it.
_LABELS: Final = {"added": "Added", "changed": "Changed", "moved": "Moved"}


class WorkflowPage:
    """A workflow as it stands at `now`, with the form that starts it."""

    def __init__(
        self, workflow: Workflow, now: datetime, posted: Mapping[str, str] | None = None
    ) -> None:
        self.workflow = workflow
        self.now = now
        self.version = workflow.published_version
        variables = self.version.definition.get("variables") if self.version else None
        self.form = StartForm(variables or (), posted)

    @cached_property
    def _document(self) -> dict[str, Any]:
        """The draft as it was saved; the published definition where they agree."""
        version = self.version
        if version and self.workflow.updated_at <= version.published_at:
            return dict(version.definition)
        return draft_document(self.workflow)

    @cached_property
    def report(self) -> Report:
        """What checking the draft finds now; what it names may have gone since it was saved."""
        return validate_document(self._document, workspace=self.workflow.workspace)

    @property
    def problems(self) -> list[Problem]:
        """The errors and warnings of the draft, the worst first."""
        return [*self.report.errors, *self.report.warnings][:PROBLEMS_SHOWN]

    @property
    def verdict(self) -> str:
        """How many errors and warnings the draft has, in words."""
        errors, warnings = len(self.report.errors), len(self.report.warnings)
        return f"{_count(errors, 'error')}, {_count(warnings, 'warning')}".capitalize()

    @cached_property
    def changes(self) -> list[StepChange]:
        """What publishing the draft would change."""
        return find_changes(self.version.definition, self._document) if self.version else []

    @property
    def changes_shown(self) -> list[StepChange]:
        return self.changes[:CHANGES_SHOWN]

    @property
    def next_number(self) -> int:
        """The number that publishing the draft would give."""
        return self.version.number + 1 if self.version else 1

    @cached_property
    def drawing(self) -> Drawing:
        """The draft's graph, with what it adds or changes marked."""
        steps = steps_of(self._document)
        kinds = {change.name: change.kind for change in self.changes}
        total = sum(1 for _ in every_step(steps))
        return draw_definition(
            steps,
            lambda step: _node(step, kinds.get(step["name"], "")),
            title=f"The {total:,} steps of this workflow",
            prefix="draft",
        )

    @cached_property
    def runs(self) -> list[WorkflowExecution]:
        """The latest runs, newest first."""
        runs = WorkflowExecution.objects.filter(workflow=self.workflow)
        return list(
            runs.select_related("version", "started_by")
            .defer("input_variables", "output_data", "version__definition")
            .order_by("-number")[:RUNS_SHOWN]
        )

    @property
    def recent(self) -> list[tuple[WorkflowExecution, float]]:
        """The latest runs, each with its running time so far in seconds."""
        return [(run, _running_seconds(run, self.now)) for run in self.runs]

    @cached_property
    def metrics(self) -> WorkflowMetrics:
        """How the runs of the last `DAYS_COUNTED` days went."""
        return workflow_metrics(self.workflow.pk, since=window_start(self.now, DAYS_COUNTED))

    @property
    def runs_counted(self) -> int:
        return sum(self.metrics.runs.values())

    @property
    def success(self) -> str:
        """How many of the finished runs completed, and which share that is."""
        rate = self.metrics.success_rate
        completed = self.metrics.runs["completed"]
        return "—" if rate is None else f"{completed:,}, {round(rate * 100)} %"

    @cached_property
    def versions(self) -> list[WorkflowVersion]:
        """The latest versions, newest first."""
        versions = self.workflow.versions.select_related("published_by").defer("definition")
        return list(versions.order_by("-number")[:VERSIONS_SHOWN])

    @cached_property
    def schedules(self) -> list[WorkflowSchedule]:
        """When the workflow starts by itself."""
        return list(WorkflowSchedule.objects.filter(workflow=self.workflow)[:SCHEDULES_SHOWN])

    @property
    def forbids_self_approval(self) -> bool:
        """Whether a gate refuses the person who started the run, by itself or for the workspace."""
        steps = steps_of(self.version.definition) if self.version else []
        gates = [step for step in every_step(steps) if step["step_type"] == "approval"]
        if gates and self.workflow.workspace.settings.get(PREVENT_SELF_APPROVAL):
            return True
        approvals = ((step.get("config") or {}).get("approval") or {} for step in gates)
        return any(approval.get("prevent_self_approval") for approval in approvals)


def _node(step: Mapping[str, Any], kind: str) -> Node:
    """A step of the draft; `kind` is what the draft does to it."""
    return Node(
        name=step["name"],
        step_type=step["step_type"],
        status="changed" if kind == "moved" else kind,
        label=_LABELS.get(kind, step["step_type"]),
        note=step.get("description") or "",
        times=_times(step),
    )


def _running_seconds(run: WorkflowExecution, now: datetime) -> float:
    current = (now - run.active_since).total_seconds() if run.active_since else 0.0
    return run.active_seconds + max(0.0, current)


def _times(step: Mapping[str, Any]) -> str:
    items = (step.get("config") or {}).get("for_each")
    if not repeats(step):
        return ""
    return f"× {len(items):,}" if isinstance(items, list) else "× n"


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
