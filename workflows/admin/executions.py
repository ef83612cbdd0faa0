"""Runs and their steps: the engine writes them, people read, cancel, pause and retry them."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.admin.display import (
    badge,
    duration_of,
    json_block,
    link_to,
    related_lists,
    steps_table,
)
from workflows.admin.filters import BoundedPaginator, StepTypeFilter, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin, signed_in
from workflows.errors import MgxError
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.executions import MAX_REASON, cancel_execution
from workflows.services.verbs import (
    pause_execution,
    rerun_execution,
    resume_execution,
    retry_execution,
)

DOOR = "admin"


class CancelForm(forms.Form):
    """Why runs are cancelled; the reason stands with each of them."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        widget=forms.Textarea(attrs={"class": "vLargeTextField", "rows": 2}),
    )


@admin.register(WorkflowExecution)
class WorkflowExecutionAdmin(ScopedAdmin):
    """Runs, newest first. Their verbs are actions; cancelling is one for their pages too."""

    list_display = (
        "__str__",
        "workspace",
        "state",
        "started_by",
        "created_at",
        "duration",
    )
    list_filter = (WorkspaceFilter, "status", "created_at")
    list_select_related = ("workflow", "workspace", "started_by")
    large = ("input_variables", "output_data")
    search_fields = ("workflow__name", "=id")
    search_help_text = "The name of a workflow, or the id of a run"
    ordering = ("-id",)
    paginator = BoundedPaginator
    actions = (
        "pause_selected",
        "resume_selected",
        "retry_selected",
        "rerun_selected",
        "cancel_selected",
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("state", "duration"),
                    ("workspace", "project"),
                    ("of_workflow", "of_version"),
                    ("started_by", "started_through", "rerun_of"),
                    ("created_at", "started_at", "completed_at"),
                    ("error_code", "error_message"),
                    "lists",
                    "steps",
                    "inputs",
                    "output",
                )
            },
        ),
        (
            "Engine",
            {
                "classes": ("collapse",),
                "fields": (
                    "id",
                    ("driver", "fence", "wake_at"),
                    ("active_seconds", "active_since", "timeout_seconds"),
                ),
            },
        ),
    )
    #: Steps that a run's page lists; the list of steps has them all.
    max_steps = 100

    @admin.display(description="Status", ordering="status")
    def state(self, execution: WorkflowExecution) -> SafeString:
        return badge(execution.status)

    @admin.display
    def duration(self, execution: WorkflowExecution) -> str:
        return duration_of(execution)

    @admin.display(description="Workflow")
    def of_workflow(self, execution: WorkflowExecution) -> SafeString | str:
        return link_to(execution.workflow)

    @admin.display(description="Version")
    def of_version(self, execution: WorkflowExecution) -> SafeString | str:
        return link_to(execution.version, f"Version {execution.version.number}")

    @admin.display(description="See its")
    def lists(self, execution: WorkflowExecution) -> SafeString | str:
        events = reverse("admin:workflows_event_changelist")
        return format_html(
            '{} · <a href="{}?workflow_execution_id__exact={}">events</a>',
            related_lists(execution, self.admin_site),
            events,
            execution.pk,
        )

    @admin.display(description="Steps")
    def steps(self, execution: WorkflowExecution) -> SafeString | str:
        steps = execution.steps.defer("input_data", "output_data").order_by("started_at", "id")
        return steps_table(steps[: self.max_steps])

    @admin.display(description="Input variables")
    def inputs(self, execution: WorkflowExecution) -> SafeString | str:
        return json_block(execution.input_variables)

    @admin.display(description="Output")
    def output(self, execution: WorkflowExecution) -> SafeString | str:
        return json_block(execution.output_data)

    def get_urls(self) -> list[URLPattern]:
        cancel = path(
            "<uuid:object_id>/cancel/",
            self.admin_site.admin_view(self.cancel_view),
            name="workflows_workflowexecution_cancel",
        )
        return [cancel, *super().get_urls()]

    def cancel_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Ask once more, and for the reason; then cancel one run."""
        execution = self.find(request, object_id)
        return self._ask_and_cancel(request, [execution], confirmed=request.method == "POST")

    @admin.action(description="Pause", permissions=["operate"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._do_each(request, queryset, pause_execution, "Paused.", "is paused.")

    @admin.action(description="Resume", permissions=["operate"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._do_each(request, queryset, resume_execution, "Resumed.", "goes on.")

    @admin.action(description="Retry failed steps", permissions=["operate"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        words = "goes on with the steps that failed."
        self._do_each(request, queryset, retry_execution, "Retried.", words)

    @admin.action(description="Run again", permissions=["operate"])
    def rerun_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        rerun = partial(rerun_execution, door=DOOR)
        self._do_each(request, queryset, rerun, "Started.", "has started.")

    def _do_each(
        self,
        request: HttpRequest,
        executions: Iterable[Any],
        verb: Callable[..., WorkflowExecution],
        logged: str,
        said: str,
    ) -> None:
        """Do something with each run, and say of each what came of it."""
        for execution in executions:
            try:
                run = verb(execution.pk, user=signed_in(request))
            except MgxError as error:
                self.tell_refusal(request, error, str(execution))
            else:
                self.log_change(request, run, logged)
                self.message_user(request, f"{run} {said}", messages.SUCCESS)

    @admin.action(description="Cancel …", permissions=["operate"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._ask_and_cancel(request, list(queryset), confirmed="confirmed" in request.POST)

    def _ask_and_cancel(
        self, request: HttpRequest, executions: list[Any], *, confirmed: bool
    ) -> HttpResponse:
        form = CancelForm(request.POST if confirmed else None)
        if form.is_valid():
            cancel = partial(cancel_execution, reason=form.cleaned_data["reason"])
            self._do_each(request, executions, cancel, "Cancelled.", "is cancelled.")
            return HttpResponseRedirect(self._way_back(request, executions))
        context = {
            **self.admin_site.each_context(request),
            "title": "Cancel this run?" if len(executions) == 1 else "Cancel these runs?",
            "opts": self.opts,
            "executions": executions,
            "form": form,
            "is_action": "action" in request.POST,
        }
        return TemplateResponse(request, "admin/workflows/workflowexecution/cancel.html", context)

    def _way_back(self, request: HttpRequest, executions: list[Any]) -> str:
        if "action" in request.POST:
            return request.get_full_path()
        return reverse("admin:workflows_workflowexecution_change", args=[executions[0].pk])


@admin.register(WorkflowStepExecution)
class WorkflowStepExecutionAdmin(ScopedAdmin):
    """Steps of runs, in each revision that has moved."""

    workspace_lookup = "execution__workspace_id"
    list_display = (
        "name",
        "of_execution",
        "step_type",
        "revision",
        "state",
        "attempts",
        "duration",
    )
    list_filter = (WorkspaceFilter, "status", StepTypeFilter)
    list_select_related = ("execution__workflow",)
    large = (
        "input_data",
        "output_data",
        "execution__input_variables",
        "execution__output_data",
    )
    search_fields = ("name", "=id", "=execution__id")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        ("name", "step_type"),
        "of_execution",
        ("state", "duration"),
        ("revision", "attempts", "crashes"),
        ("started_at", "completed_at", "due_at"),
        ("error_code", "error_message"),
        "skip_reason",
        "agent_instance_id",
        "lists",
        "inputs",
        "output",
        "id",
    )

    @admin.display(description="Run")
    def of_execution(self, step: WorkflowStepExecution) -> SafeString | str:
        return link_to(step.execution)

    @admin.display(description="Status", ordering="status")
    def state(self, step: WorkflowStepExecution) -> SafeString:
        return badge(step.status)

    @admin.display
    def duration(self, step: WorkflowStepExecution) -> str:
        return duration_of(step)

    @admin.display(description="See its")
    def lists(self, step: WorkflowStepExecution) -> SafeString | str:
        events = reverse("admin:workflows_event_changelist")
        return format_html(
            '{} · <a href="{}?workflow_step_id__exact={}">events</a>',
            related_lists(step, self.admin_site),
            events,
            step.pk,
        )

    @admin.display(description="Input")
    def inputs(self, step: WorkflowStepExecution) -> SafeString | str:
        return json_block(step.input_data)

    @admin.display(description="Output")
    def output(self, step: WorkflowStepExecution) -> SafeString | str:
        return json_block(step.output_data)
