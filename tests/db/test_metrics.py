"""What Prometheus reads, and who may."""

import socket
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.utils import OperationalError
from django.test import AsyncClient, Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from agents.models import AgentUsage
from approvals.models import WorkflowStepApproval
from mgx import metrics
from workflows.models import (
    EngineDriver,
    EventStream,
    Timer,
    WebhookDelivery,
    WorkflowExecution,
    WorkflowStepExecution,
)

pytestmark = pytest.mark.django_db
TOKEN = "scrape-me"


def scrape(**headers: str) -> dict[str, float]:
    answer = Client(headers={"host": "10.1.2.3:8000"}).get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_an_empty_installation_has_zeros() -> None:
    found = scrape()
    assert found["mgx_executions{running}"] == found["mgx_drivers_live"] == 0
    assert found["mgx_runnable_oldest_age_seconds"] == 0
    assert found["mgx_events_total"] == 0


def test_it_tells_what_the_agents_of_each_workspace_spend(agents: Any, workspace: Any) -> None:
    assert not [name for name in scrape() if name.startswith("mgx_agent")]
    for name, day in (("planner", 1), ("planner", 2), ("executor", 1)):
        AgentUsage.objects.create(
            workspace=workspace,
            agent_instance=agents[name],
            day=date(2026, 11, day),
            input_tokens=100,
            output_tokens=10,
            cost_micros=500_000,
        )
    found = scrape()
    assert found[f"mgx_agent_tokens_total{{input,{workspace.slug}}}"] == 300
    assert found[f"mgx_agent_tokens_total{{output,{workspace.slug}}}"] == 30
    assert found[f"mgx_agent_cost_total{{{workspace.slug}}}"] == 1.5


def test_it_tells_what_waits_to_be_sent_and_what_was_given_up(workspace: Any) -> None:
    now = timezone.now()
    for status, due_at in (("pending", now), ("failed", None), ("delivered", None)):
        WebhookDelivery.objects.create(
            workspace=workspace,
            event_type="step_started",
            status=status,
            created_at=now - timedelta(seconds=60),
            due_at=due_at,
        )
    found = scrape()
    assert found["mgx_webhook_deliveries_pending"] == 1
    assert found["mgx_webhook_deliveries_failed"] == 1
    assert 60 <= found["mgx_webhook_deliveries_oldest_age_seconds"] < 120
    assert found["mgx_notifications_pending"] == found["mgx_webhooks_disabled"] == 0


def test_it_tells_what_the_tables_say(workflow: Any) -> None:
    now = timezone.now()
    ago = {seconds: now - timedelta(seconds=seconds) for seconds in (30, 60, 100)}
    driver = EngineDriver.objects.create(
        host=socket.gethostname(), pid=1, started_at=now, heartbeat_at=now
    )
    EngineDriver.objects.create(host="gone", pid=2, started_at=ago[100], heartbeat_at=ago[100])

    def add(number: int, status: str, **columns: Any) -> WorkflowExecution:
        return WorkflowExecution.objects.create(
            workspace=workflow.workspace,
            workflow=workflow,
            version=workflow.published_version,
            number=number,
            status=status,
            **columns,
        )

    add(1, "pending", wake_at=ago[60])
    add(2, "waiting", wake_at=now + timedelta(seconds=60))
    held = add(3, "running", driver=driver)
    add(4, "completed", completed_at=now)
    WorkflowStepExecution.objects.create(
        id=held.pk, execution=held, name="a", step_type="task", status="running"
    )
    WorkflowStepApproval.objects.create(
        workspace=workflow.workspace, title="?", digest="0" * 64, requested_at=ago[30]
    )
    Timer.objects.create(
        workspace=workflow.workspace, kind="approval_expiry", subject_id=held.pk, due_at=ago[30]
    )
    EventStream.objects.update(last_seq=17)
    found = scrape()
    assert found["mgx_executions{completed}"] == found["mgx_executions{running}"] == 1
    assert found["mgx_runnable_executions"] == 1
    assert found["mgx_runnable_oldest_age_seconds"] == pytest.approx(60, abs=5)
    assert found["mgx_steps_running"] == 1
    assert found["mgx_approvals_pending"] == 1
    assert found["mgx_approvals_oldest_age_seconds"] == pytest.approx(30, abs=5)
    assert found["mgx_drivers_live"] == 1
    assert found["mgx_timers_overdue"] == 1
    assert found["mgx_events_total"] == 17


def test_the_number_of_series_does_not_grow_with_use(workflow: Any, make_workspace: Any) -> None:
    before = set(scrape())
    for name in ("one", "two", "three"):
        make_workspace(name)
    assert set(scrape()) == before


async def test_it_answers_on_the_event_loop_too(settings: Any) -> None:
    settings.MGX_METRICS_TOKEN = TOKEN
    answer = await AsyncClient().get("/metrics")
    assert answer.status_code == 401


def test_with_a_token_only_who_has_it_may_ask(settings: Any) -> None:
    settings.MGX_METRICS_TOKEN = TOKEN
    assert scrape(authorization=f"Bearer {TOKEN}")
    for wrong in ("", "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, "Bearer é"):
        answer = Client().get("/metrics", headers={"authorization": wrong})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), wrong
        assert b"mgx_" not in answer.content


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.2", "::ffff:8.8.8.8", ""])
def test_without_a_token_only_this_machine_may_ask(address: str) -> None:
    assert Client(REMOTE_ADDR=address).get("/metrics").status_code == 403
    assert Client(REMOTE_ADDR="::1").get("/metrics").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_comes_through_a_proxy_is_not_from_this_machine(header: str) -> None:
    assert Client().get("/metrics", headers={header: "127.0.0.1"}).status_code == 403


def test_nothing_is_written_there() -> None:
    assert Client().post("/metrics").status_code == 405


def test_without_a_database_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr(metrics, "database_now", fail)
    monkeypatch.setattr(metrics, "connection", SimpleNamespace(close=lambda: None))
    answer = Client().get("/metrics")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
