"""An execution as the driver that owns it knows it.

It is a copy of rows that nobody else writes while the driver owns the execution; when a
transaction fails it is thrown away and read again.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.core.compiled import CompiledDefinition
from workflows.core.ids import step_execution_id
from workflows.core.planner import Progress
from workflows.core.retry import RetryPolicy
from workflows.core.scope import Scope
from workflows.core.states import TERMINAL_STEP_STATUSES, ExecutionStatus, StepStatus
from workflows.dialects import RawJson
from workflows.handlers import StepContext


@dataclass(slots=True)
class StepRecord:
    """A row of ``WorkflowStepExecution``, once it ``is_stored``; JSON columns are text."""

    id: UUID
    name: str
    step_type: str
    revision: int = 1
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    crashes: int = 0
    input_data: RawJson | None = None
    output_data: RawJson | None = None
    error_code: str = ""
    error_message: str = ""
    skip_reason: str = ""
    agent_instance_id: UUID | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    is_stored: bool = False


@dataclass(slots=True)
class Plan:
    """A published version, ready to run: read once a process, shared by its runs.

    ``needs``: the steps whose outputs a step refers to; ``kept``: those that any step refers to,
    or that are the result of the run.
    """

    compiled: CompiledDefinition
    rules: dict[str, str]
    policies: dict[str, RetryPolicy]
    needs: dict[str, frozenset[str]]
    kept: frozenset[str]

    @classmethod
    def of(cls, compiled: CompiledDefinition) -> "Plan":
        """Derive from a definition what the engine asks at every step."""
        definition = compiled.definition
        needs = {
            # People are shown what the steps before the gate made, where nothing else is named.
            s.name: frozenset(s.depends_on_steps).union(compiled.steps[s.name].needs)
            if s.step_type == "approval" and not s.config.inputs
            else compiled.steps[s.name].needs
            for s in definition.steps
        }
        return cls(
            compiled=compiled,
            rules={
                s.name: s.trigger_rule for s in definition.steps if s.trigger_rule != "all_success"
            },
            policies={
                s.name: RetryPolicy(
                    max_retries=definition.retries_of(s),
                    backoff=s.config.retry.backoff,
                    initial_seconds=s.config.retry.initial_seconds,
                    max_seconds=s.config.retry.max_seconds,
                    jitter=s.config.retry.jitter,
                    retry_on=frozenset(s.config.retry.retry_on),
                    no_retry_on=frozenset(s.config.retry.no_retry_on),
                )
                for s in definition.steps
            },
            needs=needs,
            kept=frozenset(compiled.graph.leaves).union(*needs.values()),
        )


@dataclass(slots=True)
class Run:
    """One execution in the hands of this driver.

    ``ended`` collects the steps that ended since the planner was last asked; None means that it
    has to look at all of them. ``running`` counts the bodies that have not reported back.
    ``deferred`` are steps that wait their turn for an agent, with when to ask again.
    """

    id: UUID
    workspace_id: UUID
    project_id: UUID | None
    workflow_id: UUID
    workflow_name: str
    number: int
    started_by_id: int | None
    started_by: str
    status: ExecutionStatus
    variables: dict[str, Any]
    timeout_seconds: int
    active_seconds: float
    active_since: datetime | None
    started_at: datetime | None
    plan: Plan
    progress: Progress
    records: dict[str, StepRecord] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    ended: list[str] | None = None
    running: int = 0
    waiting: set[str] = field(default_factory=set)
    retrying: dict[str, datetime] = field(default_factory=dict)
    deferred: dict[str, datetime] = field(default_factory=dict)

    def record(self, name: str) -> StepRecord:
        """Return the step's record, a fresh one if it has not moved yet."""
        known = self.records.get(name)
        if known is None:
            known = self.records[name] = StepRecord(
                id=step_execution_id(self.id, name, 1),
                name=name,
                step_type=self.plan.compiled.steps[name].step.step_type,
            )
        return known

    def scope(self, record: StepRecord) -> Scope:
        """Return what the references of a step see."""
        return Scope(
            variables=self.variables,
            steps=self.outputs,
            execution={"id": str(self.id), "started_by": self.started_by},
            revision={"number": record.revision, "feedback": ""},
        )

    def context(self, record: StepRecord, inputs: dict[str, Any]) -> StepContext:
        """Return what the handler of a step is told."""
        return StepContext(
            step_execution_id=record.id,
            execution_id=self.id,
            workflow_id=self.workflow_id,
            workspace_id=self.workspace_id,
            project_id=self.project_id,
            workflow_name=self.workflow_name,
            run_number=self.number,
            started_by_id=self.started_by_id,
            step=self.plan.compiled.steps[record.name].step,
            attempt=record.attempts,
            revision=record.revision,
            inputs=inputs,
        )

    def needed_outputs(self) -> list[str]:
        """Return the completed steps whose outputs somebody may still ask for."""
        statuses = self.progress.statuses
        needed = set(self.plan.compiled.graph.leaves)
        for name, names in self.plan.needs.items():
            if statuses.get(name) not in _HAS_ITS_INPUT:
                needed |= names
        return [name for name in needed if statuses.get(name) is StepStatus.COMPLETED]

    def ready_since(self, name: str) -> datetime:
        """Return when a step that has not begun its next attempt could have."""
        record = self.records[name]
        before = (self.records.get(n) for n in self.plan.compiled.graph.predecessors[name])
        ends = [r.completed_at for r in before if r and r.completed_at]
        since = record.due_at or max(ends, default=self.started_at)
        assert since is not None
        return since

    def deadline(self) -> datetime | None:
        """Return when the execution's own time is up; None while its clock stands still."""
        if self.active_since is None:
            return None
        return self.active_since + timedelta(seconds=self.timeout_seconds - self.active_seconds)

    def next_look(self) -> datetime | None:
        """Return when the run wants to be looked at even if nothing happens."""
        moments = [*self.retrying.values(), *self.deferred.values()]
        if deadline := self.deadline():
            moments.append(deadline)
        return min(moments, default=None)

    @property
    def is_idle(self) -> bool:
        """Whether no step of it is running."""
        return not self.running

    @property
    def waits_only_for_people(self) -> bool:
        """Whether nothing but open gates is left to happen now."""
        return self.is_idle and not self.retrying and not self.deferred


_HAS_ITS_INPUT = TERMINAL_STEP_STATUSES | {StepStatus.WAITING}
