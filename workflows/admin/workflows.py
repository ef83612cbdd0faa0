"""Workflows: their drafts with variables and steps, publishing, starting, exporting."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.aggregates import Count
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.admin.display import json_block, link_to, related_lists
from workflows.admin.exports import export_draft, export_drafts
from workflows.admin.filters import WorkspaceFilter
from workflows.admin.saving import DraftAdmin
from workflows.admin.scope import ScopedAdmin, signed_in
from workflows.admin.starting import StartForm, needs_values
from workflows.errors import MgxError
from workflows.models import (
    Role,
    Workflow,
    WorkflowExecution,
    WorkflowStep,
    WorkflowVersion,
)
from workflows.services.definitions import delete_workflow, publish
from workflows.services.executions import start_execution

DOOR = "admin"


@admin.register(Workflow)
class WorkflowAdmin(DraftAdmin):
    """What editors change is the draft; runs start from what they publish."""

    edited_from = Role.EDITOR
    superuser_edits = False
    large = ("published_version__definition",)
    list_display = (
        "name",
        "workspace",
        "project",
        "version",
        "draft_revision",
        "steps_in_draft",
        "last_run_number",
        "updated_at",
    )
    list_filter = (WorkspaceFilter,)
    search_fields = ("name", "description")
    actions = ("publish_selected", "start_selected", "export_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        steps = WorkflowStep.objects.filter(workflow=OuterRef("pk")).order_by()
        count = steps.values("workflow").annotate(count=Count("pk")).values("count")
        step_count = Coalesce(Subquery(count, output_field=IntegerField()), 0)
        rows: QuerySet[Any] = super().get_queryset(request).annotate(step_count=step_count)
        return rows.select_related("workspace", "project", "published_version")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        own = ["name", "description", ("timeout_seconds", "max_retries")]
        notes = ("More", {"classes": ["collapse"], "fields": ["config", "metadata"]})
        if obj is None:
            return [(None, {"fields": [("workspace", "project"), *own]}), notes]
        state = [("workspace", "project"), ("version", "draft_revision"), "lists"]
        hidden = ["expected_revision"] if self.has_change_permission(request, obj) else []
        return [(None, {"fields": [*state, *own, *hidden]}), notes]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["workspace", "project", "version", "draft_revision", "lists"] if obj else []

    @admin.display(description="Published")
    def version(self, workflow: Workflow) -> SafeString | str:
        version = workflow.published_version
        return link_to(version, f"Version {version.number}") if version else "Not yet"

    @admin.display(description="Steps")
    def steps_in_draft(self, workflow: Any) -> int:
        return int(workflow.step_count)

    @admin.display(description="See its")
    def lists(self, workflow: Workflow) -> SafeString | str:
        return related_lists(workflow, self.admin_site)

    # --- pages of one workflow --------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        pages = [("publish", self.publish_view), ("start", self.start_view)]
        pages.append(("export", self.export_view))
        own = [
            path(
                f"<uuid:object_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"workflows_workflow_{name}",
            )
            for name, view in pages
        ]
        return own + super().get_urls()

    def publish_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Publish the draft that the person was shown."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        workflow = self.find(request, object_id)
        revision = request.POST.get("revision", "")
        expected = int(revision) if revision.isdecimal() and len(revision) < 10 else 0
        self._publish(request, workflow, expected)
        return HttpResponseRedirect(self._page_of(workflow))

    def start_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Ask for the variables of a run, and start it."""
        workflow = self.find(request, object_id)
        version = workflow.published_version
        if version is None:
            text = f"“{workflow.name}” has not been published yet."
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(self._page_of(workflow))
        form = StartForm(version, request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                execution = self._start(request, workflow, form.inputs())
            except MgxError as error:
                form.place_refusal(error)
            else:
                return HttpResponseRedirect(
                    reverse("admin:workflows_workflowexecution_change", args=[execution.pk])
                )
        context = {
            **self.admin_site.each_context(request),
            "title": f"Start a run of {workflow.name}",
            "subtitle": f"Version {version.number}",
            "opts": self.opts,
            "original": workflow,
            "form": form,
        }
        return TemplateResponse(request, "admin/workflows/workflow/start.html", context)

    def export_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Give the draft as a file."""
        return export_draft(self.find(request, object_id), request.GET.get("format", "json"))

    # --- actions ------------------------------------------------------------------------------

    @admin.action(description="Publish", permissions=["change"])
    def publish_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for workflow in queryset:
            self._publish(request, workflow, workflow.draft_revision)

    @admin.action(description="Start a run", permissions=["operate"])
    def start_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        workflows = list(queryset)
        asking = [w for w in workflows if w.published_version and needs_values(w.published_version)]
        if asking and len(workflows) == 1:
            return HttpResponseRedirect(
                reverse("admin:workflows_workflow_start", args=[workflows[0].pk])
            )
        for workflow in asking:
            text = f"“{workflow.name}” needs values: select it alone to start it."
            self.message_user(request, text, messages.WARNING)
        for workflow in workflows:
            if workflow not in asking:
                self._start_without_values(request, workflow)
        return None

    @admin.action(description="Export", permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        workflows = list(queryset.prefetch_related("variables", "steps"))
        if len(workflows) == 1:
            return export_draft(workflows[0], "json")
        return export_drafts(workflows)

    def _publish(self, request: HttpRequest, workflow: Workflow, revision: int) -> None:
        user = signed_in(request)
        try:
            version = publish(workflow, user=user, expected_revision=revision)
        except MgxError as error:
            self.tell_refusal(request, error, f"“{workflow.name}”")
            return
        self.log_change(request, workflow, f"Published version {version.number}.")
        self.say_published(request, version)

    def _start(
        self, request: HttpRequest, workflow: Workflow, inputs: dict[str, Any]
    ) -> WorkflowExecution:
        execution = start_execution(
            workflow, input_variables=inputs, user=signed_in(request), door=DOOR
        )
        self.message_user(
            request, format_html("Run {} has started.", link_to(execution)), messages.SUCCESS
        )
        return execution

    def _start_without_values(self, request: HttpRequest, workflow: Workflow) -> None:
        try:
            self._start(request, workflow, {})
        except MgxError as error:
            self.tell_refusal(request, error, f"“{workflow.name}”")

    # --- deleting -----------------------------------------------------------------------------

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        # Each workflow is deleted on its own page, which says what goes with it.
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Say what goes: numbers, since a list of every run would have no end."""
        goes: dict[str, int] = {}
        live: list[SafeString | str] = []
        for workflow in objs:
            runs = WorkflowExecution.objects.filter(workflow=workflow)
            goes["versions"] = goes.get("versions", 0) + workflow.versions.count()
            goes["runs"] = goes.get("runs", 0) + runs.count()
            live += [link_to(run) for run in runs.live().select_related("workflow")[:20]]
        return [str(workflow) for workflow in objs], goes, set(), live

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)
        except MgxError as error:
            self.tell_refusal(request, error)
            return HttpResponseRedirect(
                reverse("admin:workflows_workflow_change", args=[object_id])
            )

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        delete_workflow(obj, user=signed_in(request))

    def _page_of(self, workflow: Workflow) -> str:
        return reverse("admin:workflows_workflow_change", args=[workflow.pk])


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(ScopedAdmin):
    """Published versions: nobody changes them, runs are pinned to them."""

    workspace_lookup = "workflow__workspace_id"
    list_display = ("__str__", "workspace", "published_by", "published_at", "short_digest")
    list_filter = (WorkspaceFilter, "published_at")
    list_select_related = ("workflow__workspace", "published_by")
    large = ("definition",)
    search_fields = ("workflow__name", "digest")
    ordering = ("-id",)
    fields = (
        "name",
        "number",
        "workspace",
        "published_by",
        "published_at",
        "digest",
        "lists",
        "document",
    )
    readonly_fields = fields

    @admin.display(description="Workflow")
    def name(self, version: WorkflowVersion) -> SafeString | str:
        return link_to(version.workflow)

    @admin.display(description="Workspace")
    def workspace(self, version: WorkflowVersion) -> str:
        return version.workflow.workspace.name

    @admin.display(description="Digest")
    def short_digest(self, version: WorkflowVersion) -> str:
        return version.digest[:12]

    @admin.display(description="See its")
    def lists(self, version: WorkflowVersion) -> SafeString | str:
        return related_lists(version, self.admin_site)

    @admin.display(description="Definition")
    def document(self, version: WorkflowVersion) -> SafeString | str:
        return json_block(version.definition)
