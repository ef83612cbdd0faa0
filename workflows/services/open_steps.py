"""The steps of a live run that have not ended: those under way, and those that may begin now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from workflows.core.ids import step_execution_id
from workflows.core.names import name_in_definition
from workflows.core.revisions import rows_of_today
from workflows.core.states import TERMINAL_STEP_STATUSES, StepStatus
from workflows.core.structure import Node, build_graph, nodes_of, siblings_of
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.halting import Halting

BLOCKS: Final = frozenset({"parallel", "sequential"})

Document = Mapping[str, Any]
Rows = Mapping[str, WorkflowStepExecution]


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step that has not ended, or that could begin now: then it may have no row.

    ``definition``: of what runs, which may be its fallback.
    """

    id: UUID
    name: str
    definition: Document
    row: WorkflowStepExecution | None

    @property
    def has_begun(self) -> bool:
        """Whether it is under way, be it between two attempts."""
        return self.row is not None and self.row.status != StepStatus.PENDING

    def is_ready(self, now: datetime) -> bool:
        """Tell whether its next attempt, the first or another one, lacks nothing but a place."""
        if self.row is None or not self.has_begun:
            return True
        is_due = self.row.due_at is None or self.row.due_at <= now
        return self.row.status == StepStatus.RETRYING and is_due


@dataclass(frozen=True, slots=True)
class OpenSteps:
    """What has not ended of a run.

    Attributes:
        steps: those under way, those that began first at first, then those that may begin.
        halted_by: the failure after which only what accepts failures still starts in the run;
            None if there is none.
    """

    steps: list[OpenStep]
    halted_by: WorkflowStepExecution | None


def open_steps(execution: WorkflowExecution) -> OpenSteps:
    """Return what has not ended of a live run.

    Blocks are left out: their steps stand for them.
    """
    document = execution.version.definition
    definitions = {step["name"]: step for step in every_step(document)}
    known: dict[str, WorkflowStepExecution] = {}
    rows = WorkflowStepExecution.objects.filter(execution_id=execution.pk)
    for row in rows.defer("input_data", "output_data").order_by("revision"):
        known[row.name] = row
    latest = rows_of_today(known)
    frames = _frames(latest, definitions)
    places = {(block, suffix) for block, suffixes in frames.items() for suffix in suffixes}
    halting = Halting(document, definitions, latest, places)
    ready = {
        f"{name}{suffix}": definitions[name]
        for name, block, suffix in _ready(definitions, nodes_of(document["steps"]), latest, frames)
        if not halting.keeps(name, (block, suffix))
    }
    live = [
        row
        for row in latest.values()
        if row.completed_at is None and (row.status != StepStatus.PENDING or row.name in ready)
    ]
    live.sort(key=lambda row: (row.started_at or execution.created_at, row.name))
    steps = [
        OpenStep(row.pk, row.name, _what_runs(row, definitions), row)
        for row in live
        if row.step_type not in BLOCKS
    ]
    for name, definition in ready.items():
        if name not in latest and definition["step_type"] not in BLOCKS:
            revision = known[name].revision + 1 if name in known else 1
            step_id = step_execution_id(execution.pk, name, revision)
            steps.append(OpenStep(step_id, name, definition, None))
    return OpenSteps(steps, halting.failure())


def every_step(definition: Document) -> Iterator[Document]:
    """Yield the steps of a published definition, and those inside them."""
    pending: list[Document] = list(definition["steps"])
    while pending:
        step = pending.pop()
        yield step
        if step["step_type"] in BLOCKS:
            pending += step["config"]["steps"]


def _what_runs(row: WorkflowStepExecution, definitions: Mapping[str, Document]) -> Document:
    definition = definitions[name_in_definition(row.name, definitions)]
    if not row.is_fallback:
        return definition
    agent = definition["config"]["fallback"].get("agent_definition_id")
    return {
        **definition,
        "step_type": "agent" if agent else "task",
        "agent_definition_id": agent,
        "agent_instance_id": None,
    }


def _ready(
    definitions: Mapping[str, Document],
    nodes: Sequence[Node],
    latest: Rows,
    frames: Mapping[str, set[str]],
) -> Iterator[tuple[str, str, str]]:
    """Yield the steps that have not begun and all of whose predecessors have ended, in a sequence
    all that stand before them, with their blocks and what stands behind their names."""

    def has_ended(row_name: str) -> bool:
        row = latest.get(row_name)
        return row is not None and row.status in TERMINAL_STEP_STATUSES

    in_turn = {
        block: build_graph(siblings).order
        for block, siblings in siblings_of(nodes).items()
        if block and definitions[block]["step_type"] == "sequential"
    }
    next_ones = {
        (block, suffix): next((n for n in order if not has_ended(f"{n}{suffix}")), "")
        for block, order in in_turn.items()
        for suffix in frames.get(block, ())
    }
    for node in nodes:
        for suffix in frames.get(node.block, ()):
            row = latest.get(f"{node.name}{suffix}")
            if row is not None and row.status != StepStatus.PENDING:
                continue
            is_next = next_ones.get((node.block, suffix), node.name) == node.name
            if is_next and all(has_ended(f"{needed}{suffix}") for needed in node.needs):
                yield node.name, node.block, suffix


def _frames(latest: Rows, definitions: Mapping[str, Document]) -> dict[str, set[str]]:
    """Return by block what stands behind the names of its steps, in each round that has begun."""
    frames: dict[str, set[str]] = {"": {""}}
    for row in latest.values():
        plain = name_in_definition(row.name, definitions)
        suffix = row.name.removeprefix(plain)
        block = latest.get(row.parent)
        if block is not None and block.completed_at is None:
            frames.setdefault(name_in_definition(block.name, definitions), set()).add(suffix)
        if row.step_type in BLOCKS and row.completed_at is None:
            config = definitions[plain]["config"]
            if config.get("for_each") is None and config.get("repeat_until") is None:
                frames.setdefault(plain, set()).add(suffix)
    return frames
