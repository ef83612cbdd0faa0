"""How the runs of a workflow went, over the API."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from workflows.core.ids import step_execution_id
from workflows.models import WorkflowExecution, WorkflowStepExecution

pytestmark = pytest.mark.django_db


@pytest.fixture
def add_run(workflow: Any) -> Callable[..., WorkflowExecution]:
    """Return a function that writes a run which took ``seconds`` in all, ``ago`` days ago."""
    numbers = iter(range(1, 1_000))
    now = timezone.now()

    def add(status: str = "completed", *, seconds: float = 10, active: float = 2, ago: int = 0):
        is_ended = status in ("completed", "failed", "timeout", "cancelled")
        run = WorkflowExecution.objects.create(
            workspace=workflow.workspace,
            workflow=workflow,
            version=workflow.published_version,
            number=next(numbers),
            status=status,
            active_seconds=active,
            started_at=now - timedelta(seconds=seconds),
            completed_at=now if is_ended else None,
        )
        made = now - timedelta(days=ago)
        WorkflowExecution.objects.filter(pk=run.pk).update(created_at=made)
        return run

    return add


def add_step(run: Any, name: str, status: str = "completed", **columns: Any) -> None:
    now = timezone.now()
    seconds = columns.pop("seconds", 1)
    WorkflowStepExecution.objects.create(
        **{
            "id": step_execution_id(run.pk, name, 1),
            "execution": run,
            "name": name,
            "step_type": "task",
            "status": status,
            "attempts": 1,
            "started_at": now - timedelta(seconds=seconds) if seconds is not None else None,
            "completed_at": now,
        }
        | columns
    )


@pytest.fixture
def metrics(api: Any, workflow: Any) -> Callable[..., dict[str, Any]]:
    def read(query: str = "") -> dict[str, Any]:
        answer = api("viewer").get(f"/api/v1/workflows/{workflow.pk}/metrics/{query}")
        assert answer.status_code == 200, answer.content
        return answer.json()

    return read


def test_a_workflow_without_runs_has_nothing_to_tell(metrics) -> None:
    found = metrics()
    assert set(found["runs"].values()) == {0}
    assert found["success_rate"] is None
    assert found["duration"] == {"count": 0, "p50": None, "p95": None}
    assert found["steps"] == []


def test_the_success_rate_is_that_of_finished_runs(metrics, add_run) -> None:
    for status in ("completed", "completed", "completed", "failed", "cancelled", "running"):
        add_run(status)
    found = metrics()
    assert (found["finished"], found["success_rate"]) == (4, 0.75)
    assert found["runs"]["cancelled"] == found["runs"]["running"] == 1


def test_percentiles_are_those_of_the_nearest_rank(metrics, add_run) -> None:
    for seconds in range(1, 101):
        add_run(seconds=seconds, active=seconds / 10)
    add_run("cancelled", seconds=10_000)
    found = metrics()
    assert found["duration"]["count"] == 100
    assert found["duration"]["p50"] == pytest.approx(50, abs=0.01)
    assert found["duration"]["p95"] == pytest.approx(95, abs=0.01)
    assert found["running"]["p95"] == pytest.approx(9.5)


def test_only_the_window_counts(metrics, add_run) -> None:
    add_run(ago=10)
    add_run("failed", ago=40)
    assert metrics()["finished"] == 1
    assert metrics("?days=60")["finished"] == 2
    assert metrics("?days=5")["finished"] == 0


def test_each_step_tells_its_attempts_failures_and_its_median(metrics, add_run) -> None:
    for seconds in (1, 2, 30):
        run = add_run()
        add_step(run, "build", attempts=2, seconds=seconds)
        add_step(run, "notify", "skipped", attempts=0, seconds=None)
    add_step(add_run("failed"), "build", "failed", attempts=4, seconds=40)
    build, notify = metrics()["steps"]
    assert build.pop("median_seconds") == pytest.approx(2, abs=0.01)
    assert build == {
        "name": "build",
        "step_type": "task",
        "runs": 4,
        "attempts": 10,
        "failures": 1,
        "skipped": 0,
    }
    assert (notify["skipped"], notify["median_seconds"]) == (3, None)


def test_the_steps_of_a_mapped_block_are_counted_together(metrics, add_run) -> None:
    run = add_run()
    for index in range(3):
        add_step(run, f"check[{index}]", parent="checks")
    add_step(run, "plain[1]")
    found = {step["name"]: step for step in metrics()["steps"]}
    assert (found["check"]["runs"], found["check"]["attempts"]) == (1, 3)
    assert "plain[1]" in found


def test_waiting_for_people_is_told_apart(metrics, add_run) -> None:
    add_step(add_run(active=2), "approval_gate", step_type="approval", seconds=3_600)
    found = metrics()
    assert found["waiting_for_people"]["p50"] == pytest.approx(3_600, abs=1)
    assert found["running"]["p50"] == 2


@pytest.mark.parametrize("days", ["0", "-1", "367", "x", "1.5", "", "１"])
def test_a_window_that_is_none_is_refused(api, workflow, days) -> None:
    answer = api("viewer").get(f"/api/v1/workflows/{workflow.pk}/metrics/?days={days}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_days")


def test_it_asks_as_often_for_many_runs(
    api, workflow, add_run, django_assert_max_num_queries
) -> None:
    for _ in range(20):
        add_step(add_run(), "build")
    client = api("viewer")
    address = f"/api/v1/workflows/{workflow.pk}/metrics/"
    client.get(address)
    with django_assert_max_num_queries(9):
        client.get(address)
