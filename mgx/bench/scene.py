"""What benchmarks share: a workspace to work in, the workflows that several run, and waiting."""

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from workflows.models import Membership, Role, User, Workflow, WorkflowExecution, Workspace
from workflows.services.access import create_workspace
from workflows.services.definitions import create_workflow
from workflows.services.executions import start_executions

Figures = dict[str, Any]
_GIVE_UP_SECONDS = 300.0
_STARTS_A_CALL = 250


class Scene:
    """A workspace with one admin, in an empty database."""

    def __init__(self) -> None:
        self.workspace: Workspace = create_workspace(name="Bench", slug="bench")
        self.user: User = User.objects.create_user("bench")
        Membership.objects.create(workspace=self.workspace, user=self.user, role=Role.ADMIN)

    def workflow(self, name: str, steps: list[dict[str, Any]], **fields: Any) -> Workflow:
        document = {"name": name, "steps": steps, **fields}
        return create_workflow(workspace=self.workspace, document=document, user=self.user)

    def start(self, workflow: Workflow, count: int) -> list[WorkflowExecution]:
        started: list[WorkflowExecution] = []
        while len(started) < count:
            size = min(_STARTS_A_CALL, count - len(started))
            started += start_executions(workflow, [{}] * size, user=self.user, door="api")
        return started


def chain_steps(length: int, task: str = "transform") -> list[dict[str, Any]]:
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
                    "task": task,
                    "inputs": {"value": f"${{steps.{before}.value}}" if number else 0},
                },
            }
        )
    return steps


def wait_for_ends() -> None:
    """Wait until every run has completed."""
    live = WorkflowExecution.objects.exclude(status="completed")
    wait_until(lambda: not live.exists(), every=0.02)


def moment_of(rows: Any, field: str) -> datetime:
    """Wait until the one row of ``rows`` has a ``field``, and return it."""
    found: list[datetime] = []

    def look() -> bool:
        found[:] = rows.exclude(**{field: None}).values_list(field, flat=True)
        return bool(found)

    wait_until(look)
    return found[0]


def wait_until(condition: Callable[[], bool], every: float = 0.01) -> None:
    end = time.monotonic() + _GIVE_UP_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("The engine did not get done")
        time.sleep(every)


def milliseconds(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds() * 1_000


def spread(times: Sequence[float]) -> Figures:
    return {
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
    }
