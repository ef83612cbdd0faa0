"""What Prometheus reads at ``/metrics``: gauges, read from the database when it asks.

There are several processes, so what one of them could count would say little; the tables know.
No label has values that grow with use: figures are those of the whole installation, but for what
the agents of each workspace spend.
"""

import hmac
from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Count, Min, Sum
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from agents.models import AgentUsage
from agents.prices import units_of
from approvals.models import Notification, WorkflowStepApproval
from workflows.clock import database_now
from workflows.core.states import ExecutionStatus, StepStatus
from workflows.models import (
    EngineDriver,
    EventStream,
    Timer,
    WebhookDelivery,
    WebhookEndpoint,
    WorkflowExecution,
    WorkflowStepExecution,
)

#: A request with one of these came through a proxy, whatever address it seems to come from.
_FORWARDED: Final = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_VIA",
)


def answer_metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape: with ``MGX_METRICS_TOKEN`` as bearer token, or from this machine if it is
    unset."""
    if request.method not in ("GET", "HEAD"):
        return _say(405, "Only GET", Allow="GET, HEAD")
    if settings.MGX_METRICS_TOKEN:
        if not _has_token(request):
            return _say(401, "Send MGX_METRICS_TOKEN", **{"WWW-Authenticate": "Bearer"})
    elif not _is_from_here(request):
        return _say(403, "Set MGX_METRICS_TOKEN to ask from another machine")
    registry = CollectorRegistry()
    try:
        registry.register(_Tables(database_now()))
        text = generate_latest(registry)
    except DatabaseError:
        connection.close()
        return _say(503, "The database does not answer", **{"Retry-After": "5"})
    return HttpResponse(
        text, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"}
    )


class _Tables(Collector):
    """What the tables say at one moment; some fifteen queries, none of which reads a whole history
    but the count of executions."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def describe(self) -> list[Metric]:
        """Registering asks for no figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield self._executions()
        yield from self._backlog()
        yield _gauge(
            "steps_running",
            "Steps that a driver is running",
            WorkflowStepExecution.objects.filter(
                execution__driver__isnull=False, status=StepStatus.RUNNING
            ).count(),
        )
        yield from self._approvals()
        yield from self._engine()
        yield from self._sending()
        yield from self._spending()
        total = EventStream.objects.aggregate(total=Sum("last_seq"))["total"] or 0
        yield CounterMetricFamily("mgx_events", "Events written, of all workspaces", value=total)

    def _executions(self) -> Metric:
        family = GaugeMetricFamily(
            "mgx_executions", "Executions that are kept, by status", labels=["status"]
        )
        rows = WorkflowExecution.objects.order_by().values_list("status").annotate(n=Count("pk"))
        counts = dict(rows)
        for status in ExecutionStatus:
            family.add_metric([status.value], counts.get(status.value, 0))
        return family

    def _backlog(self) -> Iterator[Metric]:
        due = WorkflowExecution.objects.filter(driver__isnull=True, wake_at__lte=self._now)
        found = due.aggregate(n=Count("pk"), oldest=Min("wake_at"))
        yield _gauge("runnable_executions", "Executions that wait for a driver", found["n"])
        yield self._age("runnable_oldest_age_seconds", "How long the first of them does", found)

    def _approvals(self) -> Iterator[Metric]:
        pending = WorkflowStepApproval.objects.pending()
        found = pending.aggregate(n=Count("pk"), oldest=Min("requested_at"))
        yield _gauge("approvals_pending", "Requests that wait for a decision", found["n"])
        yield self._age("approvals_oldest_age_seconds", "How long the first of them does", found)

    def _engine(self) -> Iterator[Metric]:
        late = self._now - timedelta(seconds=settings.MGX_LEASE_SECONDS)
        live = EngineDriver.objects.filter(
            fenced_at__isnull=True, stopped_at__isnull=True, heartbeat_at__gt=late
        )
        yield _gauge("drivers_live", "Drivers with a recent heartbeat", live.count())
        overdue = Timer.objects.filter(kind__in=settings.TIMER_HANDLERS, due_at__lt=self._now)
        found = overdue.aggregate(n=Count("pk"), oldest=Min("due_at"))
        yield _gauge("timers_overdue", "Timers that are due and have not fired", found["n"])
        yield self._age("timers_oldest_overdue_seconds", "How long the first of them is", found)

    def _sending(self) -> Iterator[Metric]:
        for name, what, rows in (
            ("webhook_deliveries", "Calls of webhooks", WebhookDelivery.objects),
            ("notifications", "Notifications by mail", Notification.objects),
        ):
            waiting = rows.filter(due_at__isnull=False)
            found = waiting.aggregate(n=Count("pk"), oldest=Min("created_at"))
            yield _gauge(f"{name}_pending", f"{what} that wait", found["n"])
            yield self._age(f"{name}_oldest_age_seconds", "How long the first of them does", found)
            failed = rows.filter(status="failed").count()
            yield _gauge(f"{name}_failed", f"{what} that were given up, of those kept", failed)
        disabled = WebhookEndpoint.objects.filter(is_active=False).count()
        yield _gauge("webhooks_disabled", "Webhooks that are not called any more", disabled)

    def _spending(self) -> Iterator[Metric]:
        tokens = CounterMetricFamily(
            "mgx_agent_tokens",
            "Tokens that agents were told (input) and that they answered (output)",
            labels=["workspace", "kind"],
        )
        cost = CounterMetricFamily(
            "mgx_agent_cost", "What they cost, in the unit of the prices", labels=["workspace"]
        )
        rows = AgentUsage.objects.order_by().values_list("workspace__slug")
        for slug, told, said, micros in rows.annotate(
            Sum("input_tokens"), Sum("output_tokens"), Sum("cost_micros")
        ):
            tokens.add_metric([slug, "input"], told)
            tokens.add_metric([slug, "output"], said)
            cost.add_metric([slug], units_of(micros))
        yield tokens
        yield cost

    def _age(self, name: str, words: str, found: dict[str, Any]) -> Metric:
        oldest = found["oldest"]
        return _gauge(name, words, (self._now - oldest).total_seconds() if oldest else 0.0)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mgx_{name}", words, value=value)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, sent = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    expected = settings.MGX_METRICS_TOKEN
    return scheme.lower() == "bearer" and hmac.compare_digest(
        sent.strip().encode("utf-8", "replace"), expected.encode()
    )


def _is_from_here(request: HttpRequest) -> bool:
    if any(header in request.META for header in _FORWARDED):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _say(status: int, words: str, **headers: str) -> HttpResponse:
    return HttpResponse(
        f"{words}\n",
        status=status,
        content_type="text/plain",
        headers={"Cache-Control": "no-store", **headers},
    )
