"""Schedules: edited here through the service that the API calls."""

from typing import Any

from django.contrib import admin
from django.db.models import ForeignKey
from django.http import HttpRequest

from workflows.admin.fields import StrictJSONField
from workflows.admin.filters import BoundedPaginator
from workflows.admin.scope import signed_in
from workflows.admin.service_forms import ServiceAdmin, ServiceForm
from workflows.models import Role, Workflow, WorkflowSchedule
from workflows.services import schedules

_CHANGED = ("name", "cron", "timezone", "input_variables", "is_active")


class ScheduleForm(ServiceForm):
    """A schedule."""

    input_variables = StrictJSONField(
        initial=dict, help_text="What each run is started with, as a JSON object."
    )

    class Meta:
        model = WorkflowSchedule
        fields = ["workflow", *_CHANGED]
        help_texts = {
            "cron": "Minute, hour, day of the month, month, day of the week: "
            "<code>30 9 * * mon-fri</code>",
            "timezone": "As in <code>Europe/Berlin</code>",
            "is_active": "Whoever switches it on answers for its runs.",
        }

    def call_service(self) -> WorkflowSchedule:
        given = {name: self.cleaned_data[name] for name in _CHANGED}
        if self.instance._state.adding:
            workflow = self.cleaned_data["workflow"]
            return schedules.create_schedule(workflow, user=self.user, **given)
        changes = {name: value for name, value in given.items() if name in self.changed_data}
        return schedules.change_schedule(self.instance.pk, user=self.user, **changes)


@admin.register(WorkflowSchedule)
class ScheduleAdmin(ServiceAdmin):
    """Workflows that start by the clock."""

    workspace_lookup = "workflow__workspace_id"
    edited_from = Role.EDITOR
    form = ScheduleForm
    list_display = (
        "name",
        "workflow",
        "cron",
        "timezone",
        "is_active",
        "next_at",
        "last_started_at",
        "last_error",
    )
    list_filter = ("is_active",)
    list_select_related = ("workflow__workspace", "created_by")
    search_fields = ("name", "workflow__name")
    ordering = ("name", "id")
    paginator = BoundedPaginator
    readonly_fields = ("next_at", "last_started_at", "last_error", "created_by")
    fields = (
        "workflow",
        ("name", "is_active"),
        ("cron", "timezone"),
        "input_variables",
        ("next_at", "last_started_at"),
        "last_error",
        "created_by",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, "workflow") if obj else self.readonly_fields

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.related_model is Workflow:
            workflows = Workflow.objects.select_related("workspace").only("name", "workspace__name")
            kwargs["queryset"] = workflows.filter(workspace__in=self._editable_workspaces(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def delete_model(self, request: HttpRequest, obj: WorkflowSchedule) -> None:
        schedules.delete_schedule(obj.pk, user=signed_in(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for schedule in queryset:
            schedules.delete_schedule(schedule.pk, user=signed_in(request))
