"""Decisions as people and programs send them: what they cost, and how soon work goes on."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.test import Client

from approvals.models import WorkflowStepApproval
from mgx.bench.people import GATE_STEPS
from mgx.bench.scene import Figures, Scene, milliseconds, moment_of, spread, wait_until
from mgx.bench.scratch import engine
from workflows.clock import database_now
from workflows.models import User, Workflow, WorkflowExecution, WorkflowStepExecution
from workflows.services.access import SCOPES, issue_token
from workflows.services.executions import start_execution

_ROUNDS = 200
_WARMING = 20
_BATCH = 500


def deciding(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Decisions on the page, 500 in one call, and one by one beside an authenticated `GET me/`."""
    rounds = size or _ROUNDS
    client = _client(scene.user)
    workflow = scene.workflow("gate", GATE_STEPS)
    with engine(workers):
        pages = [_decide_on_page(client, scene, workflow) for _ in range(min(rounds, 100))]
        waiting = _waiting(scene, workflow, rounds + _WARMING + max(1, _BATCH * rounds // _ROUNDS))
    singly, batch = waiting[: rounds + _WARMING], waiting[rounds + _WARMING :]
    decided = _cost([partial(_decide, client, each) for each in singly])
    asked = _cost([partial(_get, client, "/api/v1/me/")] * (rounds + _WARMING))
    begun = time.perf_counter()
    _decide_all(client, batch)
    return {
        **spread(pages),
        "decision_cpu_ms": round(decided, 2),
        "me_cpu_ms": round(asked, 2),
        "ratio": round(decided / asked, 2),
        "batch": len(batch),
        "batch_seconds": round(time.perf_counter() - begun, 3),
        "how": (
            "median_ms, p95_ms: from before the POST of the decision's form to the start of the"
            f" next step; ratio: processor time of {rounds} decisions through REST over that of"
            " as many GET me/; batch_seconds: so many in one call of decisions/"
        ),
    }


def _client(user: User) -> Client:
    _, secret = issue_token(user, name="bench", scopes=SCOPES)
    client = Client(headers={"host": "localhost", "authorization": f"Bearer {secret}"})
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def _decide_on_page(client: Client, scene: Scene, workflow: Workflow) -> float:
    """Return the milliseconds from sending the form to the start of the step behind the gate."""
    execution = start_execution(workflow, input_variables={}, user=scene.user, door="api")
    wait_until(WorkflowExecution.objects.filter(id=execution.id, status="waiting").exists)
    approval = WorkflowStepApproval.objects.get(workflow_execution=execution)
    form = {"outcome": "approved", "digest": approval.digest, "revision": approval.revision}
    sent_at = database_now()
    answer = client.post(f"/approvals/{approval.pk}/", form)
    if answer.status_code != 302:
        raise RuntimeError(f"The form was answered with {answer.status_code}")
    steps = WorkflowStepExecution.objects.filter(execution=execution, name="after")
    return milliseconds(sent_at, moment_of(steps, "started_at"))


def _waiting(scene: Scene, workflow: Workflow, count: int) -> list[WorkflowStepApproval]:
    ids = [execution.id for execution in scene.start(workflow, count)]
    pending = WorkflowStepApproval.objects.pending().filter(workflow_execution_id__in=ids)
    wait_until(lambda: pending.count() == count, every=0.05)
    return list(pending.only("id", "digest"))


def _cost(calls: list[Callable[[], None]]) -> float:
    """Return the processor time of a call in milliseconds, once the first ones have warmed up."""
    for call in calls[:_WARMING]:
        call()
    begun = time.process_time()
    for call in calls[_WARMING:]:
        call()
    return (time.process_time() - begun) * 1_000 / (len(calls) - _WARMING)


def _decide(client: Client, approval: WorkflowStepApproval) -> None:
    body = {"outcome": "approved", "digest": approval.digest}
    _post(client, f"/api/v1/approvals/{approval.pk}/decisions/", body)


def _decide_all(client: Client, approvals: list[WorkflowStepApproval]) -> None:
    decisions = [{"approval_id": str(a.pk), "outcome": "approved"} for a in approvals]
    _post(client, "/api/v1/approvals/decisions/", {"decisions": decisions})


def _post(client: Client, address: str, body: dict[str, Any]) -> None:
    answer = client.post(address, body, content_type="application/json")
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answered {answer.status_code}: {answer.content[:200]!r}")


def _get(client: Client, address: str) -> None:
    if client.get(address).status_code != 200:
        raise RuntimeError(f"{address} did not answer")
