"""What the engine's tests say in one line each: define, start, wait, decide."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from agents.models import AgentDefinition, AgentInstance, AgentType
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, DecisionResult, decide
from workflows.models import (
    Event,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
    Workspace,
)
from workflows.services.definitions import create_workflow
from workflows.services.executions import start_execution
from workflows.tasks import _tasks
from workflows.tasks import task as register

_numbers = itertools.count(1)


def eventually(find: Callable[[], Any], what: str, seconds: float = 15) -> Any:
    """Return what ``find`` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > deadline:
            pytest.fail(f"Not within {seconds:.0f} s: {what}")
        time.sleep(0.01)
    return found


def task(
    name: str,
    task_name: str = "transform",
    *,
    after: Sequence[str] = (),
    inputs: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return a task step."""
    return {
        "name": name,
        "step_type": "task",
        "depends_on_steps": list(after),
        "config": {"task": task_name, "inputs": inputs or {}, **(config or {})},
        **fields,
    }


def gate(name: str = "gate", *, after: Sequence[str] = (), **approval: Any) -> dict[str, Any]:
    """Return an approval step."""
    return {
        "name": name,
        "step_type": "approval",
        "depends_on_steps": list(after),
        "config": {"approval": approval},
    }


def agent(
    name: str, agent_name: str = "worker", *, after: Sequence[str] = (), **fields: Any
) -> dict[str, Any]:
    """Return an agent step."""
    return {
        "name": name,
        "step_type": "agent",
        "agent_definition_id": agent_name,
        "depends_on_steps": list(after),
        **fields,
    }


#: A retry without a pause.
AT_ONCE = {"retry": {"initial_seconds": 0}}


@dataclass
class Scene:
    """A workspace to work in."""

    workspace: Workspace
    users: dict[str, Any]

    def workflow(self, *steps: dict[str, Any], **fields: Any) -> Workflow:
        """Publish a workflow of these steps."""
        document = {"name": f"Workflow {next(_numbers)}", "steps": list(steps), **fields}
        return create_workflow(
            workspace=self.workspace, document=document, user=self.users["editor"]
        )

    def start(self, workflow: Workflow, **variables: Any) -> WorkflowExecution:
        return start_execution(
            workflow, input_variables=variables, user=self.users["operator"], door="api"
        )

    def run(self, *steps: dict[str, Any], **fields: Any) -> WorkflowExecution:
        """Publish a workflow of these steps and start it."""
        return self.start(self.workflow(*steps, **fields))

    def agent(
        self, slug: str = "worker", *, places: int = 1, definition: str = "", **fields: Any
    ) -> AgentInstance:
        """Give the workspace an agent that calls a task: ``task`` in its ``config``."""
        made, _ = AgentDefinition.objects.get_or_create(
            slug=definition or slug,
            defaults={
                "name": slug.capitalize(),
                "agent_type": AgentType.PYTHON,
                "config": {"task": "transform"},
                "capabilities": fields.pop("capabilities", []),
            },
        )
        return AgentInstance.objects.create(
            workspace=fields.pop("workspace", self.workspace),
            definition=made,
            name=slug.capitalize(),
            slug=slug,
            max_concurrency=places,
            **fields,
        )

    def decide(
        self,
        execution: WorkflowExecution,
        outcome: str = "approved",
        feedback: str = "",
        *,
        role: str = "approver",
        **fields: Any,
    ) -> DecisionResult:
        """Decide on the one request of a run that is open."""
        decision = Decision(request_of(execution).id, outcome, feedback, **fields)
        return decide(decision, user=self.users[role], door=Door.API)


def request_of(execution: WorkflowExecution) -> WorkflowStepApproval:
    """Wait for the open request of a run."""
    pending = WorkflowStepApproval.objects.pending().filter(workflow_execution=execution)
    return eventually(pending.first, "a request")


def ended(execution: WorkflowExecution, seconds: float = 15) -> WorkflowExecution:
    """Wait for the end of a run and return it as it is then."""
    rows = WorkflowExecution.objects.filter(id=execution.id, completed_at__isnull=False)
    return eventually(rows.first, "the end of the run", seconds)


def steps_of(execution: WorkflowExecution) -> dict[str, WorkflowStepExecution]:
    return {step.name: step for step in WorkflowStepExecution.objects.filter(execution=execution)}


def statuses(execution: WorkflowExecution) -> dict[str, str]:
    """Return each step's status, and why where it was skipped."""
    return {
        name: f"{step.status} {step.skip_reason}".strip()
        for name, step in steps_of(execution).items()
    }


def step_is(execution: WorkflowExecution, name: str, status: str) -> WorkflowStepExecution:
    """Wait until a step has a status."""
    rows = WorkflowStepExecution.objects.filter(execution=execution, name=name, status=status)
    return eventually(rows.first, f"{name} {status}")


def events_of(execution_id: UUID, *types: str) -> list[Event]:
    """Return the events of a run in their order, those of ``types`` where any is named."""
    events = Event.objects.of_execution(execution_id).order_by("seq")
    return list(events.filter(event_type__in=types) if types else events)


class temporary:
    """Registers a task for as long as it is entered."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, function: Any) -> "temporary":
        self._function = function
        return self

    def __enter__(self) -> None:
        register(self._name)(self._function)

    def __exit__(self, *_: object) -> None:
        del _tasks[self._name]
