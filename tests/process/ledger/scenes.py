"""What a test has done inside an installation: a workflow, its runs, who decides at its gates."""

import itertools
import sys
import time
from typing import Any
from uuid import UUID

from agents.models import AgentDefinition, AgentInstance, AgentType
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide_many
from workflows.models import Membership, User, Workflow, WorkflowExecution
from workflows.services.access import create_workspace
from workflows.services.definitions import create_workflow
from workflows.services.executions import start_executions

AGENT_PLACES = 5


def step(name: str, *after: str, task: str = "note", seconds: float = 0.2) -> dict[str, Any]:
    config = {"task": f"ledger.{task}", "inputs": {"seconds": seconds} if seconds else {}}
    return {"name": name, "step_type": "task", "depends_on_steps": after, "config": config}


#: Eight steps of every type: parallel ones, a gate, an agent, a blocking task, a condition.
STEPS: list[dict[str, Any]] = [
    step("first"),
    step("left", "first", seconds=0.5),
    step("right", "first", task="note_sync"),
    {"name": "gate", "step_type": "approval", "depends_on_steps": ["left", "right"]},
    {
        "name": "agent",
        "step_type": "agent",
        "agent_definition_id": "worker",
        "depends_on_steps": ["gate"],
        "config": {"inputs": {"seconds": 0.2}},
    },
    step("beside", "gate"),
    {
        "name": "check",
        "step_type": "condition",
        "depends_on_steps": ["agent"],
        "condition_expression": "steps.agent.attempt > 0",
    },
    step("last", "check", "beside"),
]


def publish(steps: list[dict[str, Any]], **fields: Any) -> Workflow:
    """Make the workspace with its people and its agent, and a workflow in it."""
    workspace = create_workspace(name="Chaos", slug="chaos")
    for name, role in (("operator", "operator"), ("approver", "approver")):
        user = User.objects.create_user(name)
        Membership.objects.create(workspace=workspace, user=user, role=role)
    definition = AgentDefinition.objects.create(
        name="Worker",
        slug="worker",
        agent_type=AgentType.PYTHON,
        config={"task": "ledger.note"},
    )
    AgentInstance.objects.create(
        workspace=workspace,
        definition=definition,
        name="Worker",
        slug="worker",
        max_concurrency=AGENT_PLACES,
    )
    document = {"name": "Chaos", "steps": steps, **fields}
    return create_workflow(workspace=workspace, document=document, user=None)


def start(workflow: Workflow, count: int) -> None:
    start_executions(workflow, [{}] * count, user=None, door="api")


def decide_everything() -> None:
    """Approve whatever asks, until there is no run left that could."""
    approver = User.objects.get(username="approver")
    live = WorkflowExecution.objects.filter(completed_at=None)
    for _ in itertools.count():
        pending = WorkflowStepApproval.objects.pending().values_list("id", flat=True)
        ids: list[UUID] = list(pending[:50])
        if ids:
            decide_many([Decision(i, "approved") for i in ids], user=approver, door=Door.API)
        elif not live.exists():
            sys.exit(0)
        time.sleep(0.05)
