"""Schedules: edited here through the service that the API calls."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import ForeignKey
from django.http import HttpRequest

from workflows.admin.fields import StrictJSONField
from workflows.admin.filters import BoundedPaginator
from workflows.admin.scope import ScopedAdmin, say_refusal, signed_in
from workflows.errors import InvalidInput, MgxError
from workflows.models import Role, Workflow, WorkflowSchedule
from workflows.services import schedules

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm

_CHANGED = ("name", "cron", "timezone", "input_variables", "is_active")


class ScheduleForm(ModelForm):
    """A schedule. The service saves it as the last check, so that the form shows its refusals."""

    input_variables = StrictJSONField(
        initial=dict, help_text="What each run is started with, as a JSON object."
    )
    #: Who saves it, set by the admin.
    user: Any = None

    class Meta:
        model = WorkflowSchedule
        fields = ["workflow", *_CHANGED]
        help_texts = {
            "cron": "Minute, hour, day of the month, month, day of the week: "
            "<code>30 9 * * mon-fri</code>",
            "timezone": "As in <code>Europe/Berlin</code>",
            "is_active": "Whoever switches it on answers for its runs.",
        }

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own, after all fields are checked
        if self.errors:
            return
        try:
            self._saved = self._call_service()
        except InvalidInput as error:
            for problem in error.problems:
                field = problem.path.split("/")[1]
                self.add_error(field if field in self.fields else None, problem.message)
        except MgxError as error:
            self.add_error(None, say_refusal(error))

    def _call_service(self) -> WorkflowSchedule:
        given = {name: self.cleaned_data[name] for name in _CHANGED}
        if self.instance._state.adding:
            workflow = self.cleaned_data["workflow"]
            return schedules.create_schedule(workflow, user=self.user, **given)
        changes = {name: value for name, value in given.items() if name in self.changed_data}
        return schedules.change_schedule(self.instance.pk, user=self.user, **changes)

    def save(self, commit: bool = True) -> Any:
        """Return what the service saved."""
        return self._saved

    def save_m2m(self) -> None:
        """There is nothing else to save."""


@admin.register(WorkflowSchedule)
class ScheduleAdmin(ScopedAdmin):
    """Workflows that start by the clock."""

    workspace_lookup = "workflow__workspace_id"
    edited_from = Role.EDITOR
    superuser_edits = False
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

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.user = signed_in(request)
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, "workflow") if obj else self.readonly_fields

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.related_model is Workflow:
            workflows = Workflow.objects.select_related("workspace").only("name", "workspace__name")
            kwargs["queryset"] = workflows.filter(workspace__in=self._editable_workspaces(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Write nothing: the form had the service do it."""

    def delete_model(self, request: HttpRequest, obj: WorkflowSchedule) -> None:
        schedules.delete_schedule(obj.pk, user=signed_in(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for schedule in queryset:
            schedules.delete_schedule(schedule.pk, user=signed_in(request))
