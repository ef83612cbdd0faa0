"""What the engine keeps: events, drivers, timers. Nobody else writes them."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString

from workflows.admin.display import json_block, link_to_id, related_lists
from workflows.admin.filters import BoundedPaginator, EventTypeFilter, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin, signed_in
from workflows.models import (
    EngineDriver,
    Event,
    Timer,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
)


@admin.register(Event)
class EventAdmin(ScopedAdmin):
    """What happened, newest first."""

    list_display = (
        "seq",
        "workspace",
        "timestamp",
        "event_type",
        "actor",
        "message",
        "of_execution",
    )
    list_filter = (WorkspaceFilter, EventTypeFilter, "timestamp")
    list_select_related = ("workspace",)
    large = ("data",)
    search_fields = ("=workflow_execution_id", "=approval_id", "=actor")
    search_help_text = "The id of a run or a request, or an actor like user:anna"
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        ("seq", "event_type"),
        ("workspace", "timestamp", "actor"),
        "message",
        ("of_workflow", "of_execution", "of_step"),
        ("approval_id", "agent_id"),
        "details",
        "id",
    )

    @admin.display(description="Workflow")
    def of_workflow(self, event: Event) -> SafeString | str:
        return link_to_id(Workflow, event.workflow_id, "Workflow")

    @admin.display(description="Run")
    def of_execution(self, event: Event) -> SafeString | str:
        return link_to_id(WorkflowExecution, event.workflow_execution_id, "Run")

    @admin.display(description="Step")
    def of_step(self, event: Event) -> SafeString | str:
        return link_to_id(WorkflowStepExecution, event.workflow_step_id, "Step")

    @admin.display(description="Data")
    def details(self, event: Event) -> SafeString | str:
        return json_block(event.data)


@admin.register(EngineDriver)
class EngineDriverAdmin(ScopedAdmin):
    """Drivers serve all workspaces: only a superuser sees them."""

    workspace_lookup = ""
    list_display = ("__str__", "state", "runs", "started_at", "heartbeat_at")
    ordering = ("-id",)
    fields = (
        ("host", "pid", "process"),
        "state",
        ("started_at", "heartbeat_at"),
        ("fenced_at", "stopped_at"),
        "lists",
        "id",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        drivers = EngineDriver.objects.annotate(run_count=Count("executions"), read_at=Now())
        return drivers if signed_in(request).is_superuser else drivers.none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return signed_in(request).is_superuser

    @admin.display(description="State")
    def state(self, driver: Any) -> str:
        if driver.stopped_at:
            return "Stopped"
        if driver.fenced_at:
            return "Fenced: its runs went to another one"
        lease = timedelta(seconds=settings.MGX_LEASE_SECONDS)
        return "Live" if driver.heartbeat_at > driver.read_at - lease else "Silent"

    @admin.display(description="Runs it holds")
    def runs(self, driver: Any) -> int:
        return int(driver.run_count)

    @admin.display(description="See its")
    def lists(self, driver: EngineDriver) -> SafeString | str:
        return related_lists(driver, self.admin_site)


@admin.register(Timer)
class TimerAdmin(ScopedAdmin):
    """What is due when. A timer that has fired is gone."""

    list_display = ("kind", "due_at", "workspace", "subject_id")
    list_filter = (WorkspaceFilter,)
    list_select_related = ("workspace",)
    search_fields = ("=subject_id",)
    ordering = ("due_at", "id")
    paginator = BoundedPaginator
    fields = ("kind", "due_at", "workspace", "subject_id", "id")
