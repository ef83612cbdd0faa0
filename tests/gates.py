"""Runs that stand at a gate, as the engine leaves them, for the pages to show."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from approvals.models import WorkflowStepApproval
from approvals.services.requests import Request, open_requests, required_event
from workflows.core.ids import step_execution_id
from workflows.events import SYSTEM, append_events
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.executions import start_execution

GATE = "approval_gate"


@pytest.fixture
def add_step() -> Callable[..., WorkflowStepExecution]:
    """Return a function that writes a step's row: ``add_step(run, "plan", "completed")``."""

    def add(
        run: WorkflowExecution, name: str, status: str, *, seconds: float = 5, **columns: Any
    ) -> WorkflowStepExecution:
        now = timezone.now()
        types = {step["name"]: step["step_type"] for step in run.version.definition["steps"]}
        ended = status in ("completed", "failed", "skipped", "cancelled", "timeout")
        revision = columns.get("revision", 1)
        columns = {
            "attempts": 1,
            "started_at": now - timedelta(seconds=seconds),
            "completed_at": now if ended else None,
            **columns,
        }
        return WorkflowStepExecution.objects.create(
            id=step_execution_id(run.pk, name, revision),
            execution=run,
            name=name,
            step_type=types[name],
            status=status,
            **columns,
        )

    return add


@pytest.fixture
def start(workflow, users) -> Callable[..., WorkflowExecution]:
    """Return a function that starts a run, of the example unless told otherwise."""

    def make(of: Any = None, values: Any = None, by: str = "operator") -> WorkflowExecution:
        given = {"task_description": "Deploy 2026.47"} if values is None else values
        return start_execution(of or workflow, input_variables=given, user=users[by], door="api")

    return make


@pytest.fixture
def ask(start, add_step, users) -> Callable[..., WorkflowStepApproval]:
    """Return a function that leaves a run at its gate, and returns the request.

    ``ask(title=…, data=…, of=workflow, ago=seconds)``; more keywords go to the request.
    """

    def make(
        title: str = "Approve Deployment Plan",
        data: Any = None,
        of: Any = None,
        ago: float = 60,
        by: str = "operator",
        **rules: Any,
    ) -> WorkflowStepApproval:
        run = start(of, by=by)
        WorkflowExecution.objects.filter(pk=run.pk).update(status="waiting")
        add_step(run, "generate_plan", "completed", output_data={"plan": "all at once"})
        gate = add_step(run, GATE, "waiting", seconds=ago)
        asked_at = timezone.now() - timedelta(seconds=ago)
        request = Request(
            workspace_id=run.workspace_id,
            title=title,
            approval_data={"generate_plan": {"plan": "all at once"}} if data is None else data,
            execution_id=run.pk,
            step_execution_id=gate.pk,
            project_id=run.project_id,
            requested_by_id=users[by].pk,
            **rules,
        )
        with transaction.atomic():
            approval = open_requests([request], asked_at)[0]
            append_events([required_event(approval, actor=SYSTEM)], asked_at)
        return approval

    return make
