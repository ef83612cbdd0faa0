"""The measures themselves. Each returns the figures of its JSON line and ``how`` it got them."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from agents.models import AgentDefinition, AgentInstance, AgentType
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide, decide_many
from mgx.bench.scratch import engine, peak_mb
from workflows.clock import database_now
from workflows.models import (
    Membership,
    Role,
    User,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
    Workspace,
)
from workflows.services.access import create_workspace
from workflows.services.definitions import create_workflow
from workflows.services.executions import start_execution, start_executions

Figures = dict[str, Any]
_GIVE_UP_SECONDS = 300.0
_STARTS_A_CALL = 250


class Scene:
    """A workspace with one admin, in an empty database."""

    def __init__(self) -> None:
        self.workspace: Workspace = create_workspace(name="Bench", slug="bench")
        self.user: User = User.objects.create_user("bench")
        Membership.objects.create(workspace=self.workspace, user=self.user, role=Role.ADMIN)

    def workflow(self, name: str, steps: list[dict[str, Any]]) -> Workflow:
        return create_workflow(
            workspace=self.workspace, document={"name": name, "steps": steps}, user=self.user
        )

    def start(self, workflow: Workflow, count: int) -> list[WorkflowExecution]:
        started: list[WorkflowExecution] = []
        while len(started) < count:
            size = min(_STARTS_A_CALL, count - len(started))
            started += start_executions(workflow, [{}] * size, user=self.user, door="api")
        return started


def chain(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """N executions of ten steps, each of which passes on what the one before made."""
    count = size or 1_000
    workflow = scene.workflow("chain", chain_steps(10))
    with engine(workers):
        begun = time.perf_counter()
        scene.start(workflow, count)
        live = WorkflowExecution.objects.exclude(status="completed")
        _wait(lambda: not live.exists(), every=0.05)
        seconds = time.perf_counter() - begun
    return {
        "steps_per_second": round(count * 10 / seconds, 1),
        "seconds": round(seconds, 3),
        "how": f"{count} executions of 10 steps, from the first start to the last end",
    }


def latency(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """One ten-step chain after the other on an idle system."""
    workflow = scene.workflow("chain", chain_steps(10))
    times = []
    with engine(workers):
        for _ in range(size or 60):
            begun = database_now()
            execution = start_execution(workflow, input_variables={}, user=scene.user, door="api")
            row = WorkflowExecution.objects.filter(id=execution.id)
            times.append(_milliseconds(begun, _moment(row, "completed_at")))
    return {**_spread(times), "how": "from the call that starts a 10-step chain to its end"}


def gate(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """How fast work goes on after a decision, for one and for many."""
    workflow = scene.workflow("gate", GATE_STEPS)
    count = size or 500
    with engine(workers):
        waits = [_decide_one(scene, workflow) for _ in range(100)]
        singly = _decide_many(scene, workflow, count, 1)
        batched = _decide_many(scene, workflow, count, 100)
    return {
        **_spread(waits),
        "per_second": round(count / singly, 1),
        "batch_per_second": round(count / batched, 1),
        "how": (
            "median_ms, p95_ms: from the moment that a decision bears to the start of the next "
            f"step; per_second: {count} waiting requests decided one by one in another process "
            "until the last next step has started; batch_per_second: 100 a call"
        ),
    }


def concurrency(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Agent calls of 30 s to a local HTTP server, all at once."""
    count = size or 1_000
    definition = AgentDefinition.objects.create(
        name="Caller", slug="caller", agent_type=AgentType.PYTHON, config={"task": "bench.call"}
    )
    AgentInstance.objects.create(
        workspace=scene.workspace,
        definition=definition,
        name="caller",
        slug="caller-1",
        max_concurrency=count,
    )
    command = [sys.executable, "-m", "mgx.bench.slow_server", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            step = {"name": "call", "step_type": "agent", "agent_definition_id": "caller"}
            workflow = scene.workflow("calls", [{**step, "config": {"inputs": {"port": port}}}])
            with engine(1) as pids:
                begun = time.perf_counter()
                scene.start(workflow, count)
                live = WorkflowExecution.objects.exclude(status="completed")
                _wait(lambda: not live.exists(), every=0.1)
                seconds = time.perf_counter() - begun
                peak = max(map(peak_mb, pids))
        finally:
            server.terminate()
    return {
        "seconds": round(seconds, 2),
        "peak_mb": peak,
        "how": f"{count} agent calls of 30 s in one worker process; its peak resident memory",
    }


def commits(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """What the database itself does: single-row commits from one connection, the yardstick."""
    count = size or 2_000
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_commit (id integer PRIMARY KEY, note text)")
        begun = time.perf_counter()
        for number in range(count):
            with transaction.atomic():
                cursor.execute("INSERT INTO bench_commit VALUES (%s, %s)", [number, "x"])
        seconds = time.perf_counter() - begun
    return {
        "per_second": round(count / seconds, 1),
        "seconds": round(seconds, 3),
        "how": f"{count} transactions of one INSERT each, one after the other",
    }


MEASURES: dict[str, Callable[..., Figures]] = {
    "chain": chain,
    "latency": latency,
    "gate": gate,
    "concurrency": concurrency,
    "commits": commits,
}

GATE_STEPS: list[dict[str, Any]] = [
    {"name": "gate", "step_type": "approval", "config": {"inputs": {"amount": 1}}},
    {
        "name": "after",
        "step_type": "task",
        "depends_on_steps": ["gate"],
        "config": {"task": "transform", "inputs": {"approved": "${steps.gate.approved}"}},
    },
]


def chain_steps(length: int) -> list[dict[str, Any]]:
    """Return steps that pass a value on, one to the next."""
    steps: list[dict[str, Any]] = []
    for number in range(length):
        before = f"step_{number - 1}"
        steps.append(
            {
                "name": f"step_{number}",
                "step_type": "task",
                "depends_on_steps": [before] if number else [],
                "config": {
                    "task": "transform",
                    "inputs": {"value": f"${{steps.{before}.value}}" if number else 0},
                },
            }
        )
    return steps


def _decide_one(scene: Scene, workflow: Workflow) -> float:
    """Return the milliseconds from a decision to the start of the step behind it."""
    execution = start_execution(workflow, input_variables={}, user=scene.user, door="api")
    waiting = WorkflowExecution.objects.filter(id=execution.id, status="waiting")
    _wait(waiting.exists)
    approval = WorkflowStepApproval.objects.get(workflow_execution=execution)
    result = decide(Decision(approval.id, "approved"), user=scene.user, door=Door.API)
    decided_at = result.approval.responded_at
    assert decided_at is not None
    steps = WorkflowStepExecution.objects.filter(execution=execution, name="after")
    return _milliseconds(decided_at, _moment(steps, "started_at"))


def _decide_many(scene: Scene, workflow: Workflow, count: int, batch: int) -> float:
    """Return the seconds in which ``count`` waiting requests are decided and resumed."""
    ids = [execution.id for execution in scene.start(workflow, count)]
    waiting = WorkflowExecution.objects.filter(id__in=ids, status="waiting")
    _wait(lambda: waiting.count() == count, every=0.05)
    pending = WorkflowStepApproval.objects.pending().filter(workflow_execution_id__in=ids)
    approvals = list(pending.values_list("id", flat=True))
    begun = time.perf_counter()
    for first in range(0, count, batch):
        decisions = [Decision(i, "approved") for i in approvals[first : first + batch]]
        for result in decide_many(decisions, user=scene.user, door=Door.API):
            if isinstance(result, Exception):
                raise result
    resumed = WorkflowStepExecution.objects.filter(execution_id__in=ids, name="after")
    _wait(lambda: resumed.count() == count, every=0.02)
    return time.perf_counter() - begun


def _moment(rows: Any, field: str) -> datetime:
    """Wait until the one row of ``rows`` has a ``field``, and return it."""
    found: list[datetime] = []

    def look() -> bool:
        found[:] = rows.exclude(**{field: None}).values_list(field, flat=True)
        return bool(found)

    _wait(look)
    return found[0]


def _wait(condition: Callable[[], bool], every: float = 0.01) -> None:
    end = time.monotonic() + _GIVE_UP_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("The engine did not get done")
        time.sleep(every)


def _milliseconds(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds() * 1_000


def _spread(times: Sequence[float]) -> Figures:
    return {
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
    }
