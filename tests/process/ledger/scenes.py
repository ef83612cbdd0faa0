"""What a test has done inside an installation: a workflow, its runs, who decides at its gates."""

import contextlib
import itertools
import random
import sys
import time
from typing import Any
from uuid import UUID

from django.conf import settings

from agents.models import AgentDefinition, AgentInstance, AgentType
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide_many
from workflows.errors import Conflict
from workflows.models import Membership, User, Workflow, WorkflowExecution, Workspace
from workflows.services.access import create_workspace
from workflows.services.definitions import create_workflow
from workflows.services.executions import cancel_execution, start_executions

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


def decide_some(count: int) -> None:
    """Approve what has asked first."""
    approver = User.objects.get(username="approver")
    pending = WorkflowStepApproval.objects.pending().order_by("id").values_list("id", flat=True)
    decisions = [Decision(i, "approved") for i in pending[:count]]
    decide_many(decisions, user=approver, door=Door.API)


def time_runs(count: int) -> None:
    """Run two steps again and again, one run after the other; note the seconds of each run."""
    short = Workflow.objects.filter(name="Short").first() or create_workflow(
        workspace=Workspace.objects.get(),
        document={"name": "Short", "steps": [step("a", seconds=0), step("b", "a", seconds=0)]},
        user=None,
    )
    with open(settings.MGX_VAR / "seconds", "w") as told:
        for _ in range(count):
            started = time.monotonic()
            run = start_executions(short, [{}], user=None, door="api")[0]
            while WorkflowExecution.objects.filter(id=run.id, completed_at=None).exists():
                time.sleep(0.002)
            told.write(f"{time.monotonic() - started}\n")


def cancel_everything(seed: int) -> None:
    """Cancel each run at a moment that the seed decides; note when that had returned."""
    draw = random.Random(seed)  # noqa: S311  (a test's own)
    operator = User.objects.get(username="operator")
    ids = list(WorkflowExecution.objects.values_list("id", flat=True))
    draw.shuffle(ids)
    with open(settings.MGX_VAR / "cancelled", "w") as told:
        for execution_id in ids:
            time.sleep(draw.uniform(0, 0.08))
            with contextlib.suppress(Conflict):
                cancel_execution(execution_id, user=operator)
                told.write(f"{execution_id.hex} {time.time()}\n")


def die_at_commits(commits: list[int]) -> None:
    """Start a run for each of these commits, before and after which its driver dies; note the
    run and whether it did. Stop where a run has no such commit."""
    workflow = Workflow.objects.get()
    approver = User.objects.get(username="approver")
    order, died = settings.MGX_VAR / "die_at", settings.MGX_VAR / "died"
    with open(settings.MGX_VAR / "deaths", "w") as told:
        for number, when in itertools.product(commits, ("before", "after")):
            (settings.MGX_VAR / "new").write_text(f"{number} {when}")
            (settings.MGX_VAR / "new").rename(order)
            execution = start_executions(workflow, [{}], user=None, door="api")[0]
            while WorkflowExecution.objects.filter(id=execution.id, completed_at=None).exists():
                pending = WorkflowStepApproval.objects.pending().values_list("id", flat=True)
                decisions = [Decision(i, "approved") for i in pending]
                decide_many(decisions, user=approver, door=Door.API)
                time.sleep(0.02)
            if order.exists():
                order.unlink()
                return
            died.unlink()
            told.write(f"{number} {when}\n")
            told.flush()
