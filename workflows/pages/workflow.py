"""What the page of a workflow shows: its picture, what the draft changes, the start form, runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from workflows.core.definition import parse_definition
from workflows.core.errors import DefinitionError
from workflows.models import Workflow, WorkflowExecution, WorkflowVersion
from workflows.pages.differences import Difference, find_differences
from workflows.pages.graphs import REDUCED_NOTE, draw_steps, edges_of, is_reduced, steps_of
from workflows.pages.start_form import StartForm
from workflows.picture import Node
from workflows.services.definitions import definition_limits, draft_document

RUNS_SHOWN: Final = 8
VERSIONS_SHOWN: Final = 6

#: What is compared between draft and version, besides the steps.
_OWN_KEYS: Final = (
    *("name", "description", "variables", "timeout_seconds", "max_retries", "config"),
)


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step that the draft adds, changes or removes."""

    name: str
    kind: str
    differences: list[Difference]


class WorkflowPage:
    """A workflow with its latest runs and versions, and the form that starts it."""

    def __init__(self, workflow: Workflow, posted: Mapping[str, str] | None = None) -> None:
        self.workflow = workflow
        self.version = workflow.published_version
        variables = self.version.definition.get("variables") if self.version else None
        self.form = StartForm(variables or (), posted)

    @cached_property
    def draft(self) -> dict[str, Any]:
        """The draft as it would be published; the published definition where they agree."""
        version = self.version
        if version and self.workflow.updated_at <= version.published_at:
            return dict(version.definition)
        document = draft_document(self.workflow)
        try:
            definition = parse_definition(document, definition_limits())
        except DefinitionError:
            return document
        return definition.model_dump(mode="json", exclude_none=True)

    @cached_property
    def changes(self) -> list[StepChange]:
        """What publishing the draft would change, the workflow's own fields first."""
        if self.version is None:
            return []
        old, new = self.version.definition, self.draft
        own = find_differences(_own(old), _own(new))
        found = [StepChange(self.workflow.name, "changed", own)] if own else []
        before = {step["name"]: step for step in steps_of(old)}
        after = {step["name"]: step for step in steps_of(new)}
        for name, step in after.items():
            if name not in before:
                found.append(StepChange(name, "added", []))
            elif step != before[name]:
                differences = find_differences(before[name], step)
                found.append(StepChange(name, "changed", differences))
        found += [StepChange(name, "removed", []) for name in before if name not in after]
        return found

    @property
    def next_number(self) -> int:
        """The number that publishing the draft would give."""
        return self.version.number + 1 if self.version else 1

    @property
    def graph_note(self) -> str:
        """What has to be said of the picture, if anything."""
        steps = steps_of(self.draft)
        names = [step["name"] for step in steps]
        return REDUCED_NOTE if is_reduced(names, edges_of(steps)) else ""

    def picture(self) -> str:
        """The draft's graph, with what it adds or changes marked."""
        steps = steps_of(self.draft)
        kinds = {change.name: change.kind for change in self.changes}
        nodes = [
            Node(
                name=step["name"],
                step_type=step["step_type"],
                status=kinds.get(step["name"], ""),
                label="" if step["name"] in kinds else step["step_type"],
                note=step.get("description") or "",
            )
            for step in steps
        ]
        title = f"The {len(nodes)} steps of this workflow"
        return draw_steps(nodes, edges_of(steps), title=title, prefix="draft")

    @cached_property
    def runs(self) -> list[WorkflowExecution]:
        """The latest runs, newest first."""
        runs = WorkflowExecution.objects.filter(workflow=self.workflow)
        return list(
            runs.select_related("version", "started_by")
            .defer("input_variables", "output_data", "version__definition")
            .order_by("-number")[:RUNS_SHOWN]
        )

    @cached_property
    def versions(self) -> list[WorkflowVersion]:
        """The latest versions, newest first."""
        versions = self.workflow.versions.select_related("published_by").defer("definition")
        return list(versions.order_by("-number")[:VERSIONS_SHOWN])


def _own(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: definition.get(key) for key in _OWN_KEYS}
