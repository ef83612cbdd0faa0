"""Gates: how soon work goes on after people have decided."""

import time
from typing import Any

from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide, decide_many
from mgx.bench.scene import Figures, Scene, milliseconds, moment_of, spread, wait_until
from mgx.bench.scratch import engine, tidy
from workflows.models import Workflow, WorkflowExecution, WorkflowStepExecution
from workflows.services.executions import start_execution

GATE_STEPS: list[dict[str, Any]] = [
    {"name": "gate", "step_type": "approval", "config": {"inputs": {"amount": 1}}},
    {
        "name": "after",
        "step_type": "task",
        "depends_on_steps": ["gate"],
        "config": {"task": "transform", "inputs": {"approved": "${steps.gate.approved}"}},
    },
]


def gate(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """How fast work goes on after a decision, for one and for many."""
    workflow = scene.workflow("gate", GATE_STEPS)
    count = size or 500
    with engine(workers):
        waits = [_decide_one(scene, workflow) for _ in range(100)]
        singly = _decide_many(scene, workflow, count, 1)
        batched = _decide_many(scene, workflow, count, 100)
    return {
        **spread(waits),
        "per_second": round(count / singly, 1),
        "batch_per_second": round(count / batched, 1),
        "how": (
            "median_ms, p95_ms: from the moment that a decision bears to the start of the next "
            f"step; per_second: {count} waiting requests decided one by one in another process "
            "until the last next step has started; batch_per_second: 100 a call"
        ),
    }


def _decide_one(scene: Scene, workflow: Workflow) -> float:
    """Return the milliseconds from a decision to the start of the step behind it."""
    execution = start_execution(workflow, input_variables={}, user=scene.user, door="api")
    waiting = WorkflowExecution.objects.filter(id=execution.id, status="waiting")
    wait_until(waiting.exists)
    approval = WorkflowStepApproval.objects.get(workflow_execution=execution)
    result = decide(Decision(approval.id, "approved"), user=scene.user, door=Door.API)
    decided_at = result.approval.responded_at
    assert decided_at is not None
    steps = WorkflowStepExecution.objects.filter(execution=execution, name="after")
    return milliseconds(decided_at, moment_of(steps, "started_at"))


def _decide_many(scene: Scene, workflow: Workflow, count: int, batch: int) -> float:
    """Return the seconds in which ``count`` waiting requests are decided and resumed."""
    ids = [execution.id for execution in scene.start(workflow, count)]
    waiting = WorkflowExecution.objects.filter(id__in=ids, status="waiting")
    wait_until(lambda: waiting.count() == count, every=0.05)
    pending = WorkflowStepApproval.objects.pending().filter(workflow_execution_id__in=ids)
    approvals = list(pending.values_list("id", flat=True))
    tidy()
    begun = time.perf_counter()
    for first in range(0, count, batch):
        decisions = [Decision(i, "approved") for i in approvals[first : first + batch]]
        for result in decide_many(decisions, user=scene.user, door=Door.API):
            if isinstance(result, Exception):
                raise result
    resumed = WorkflowStepExecution.objects.filter(execution_id__in=ids, name="after")
    wait_until(lambda: resumed.count() == count, every=0.02)
    return time.perf_counter() - begun
