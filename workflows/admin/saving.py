"""How a draft is saved in the admin: all its forms at once, by the service that the API calls."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from workflows.admin.drafts import (
    PartFormSet,
    StepForm,
    VariableForm,
    WorkflowForm,
    document_of,
    part_limit,
    place_refusal,
)
from workflows.admin.scope import ScopedAdmin, signed_in
from workflows.errors import MgxError
from workflows.models import Workflow, WorkflowStep, WorkflowVariable, WorkflowVersion
from workflows.services.definitions import create_workflow, publish, replace_draft

if TYPE_CHECKING:
    StackedInline = admin.StackedInline[Any, Any]
else:
    StackedInline = admin.StackedInline


class DraftRefused(Exception):
    """The service refused a draft; the forms say why, and are shown again."""

    def __init__(self, form: WorkflowForm, formsets: Sequence[PartFormSet]) -> None:
        super().__init__("The draft is refused")
        self.form = form
        self.formsets = formsets


class PartInline(StackedInline):
    """Parts of a draft, edited by whoever may edit the draft."""

    formset = PartFormSet
    template = "admin/workflows/workflow/part_inline.html"
    extra = 0

    def get_max_num(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return part_limit()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._edited_like().has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._edited_like().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._edited_like().has_change_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._edited_like().has_view_permission(request, obj)

    def _edited_like(self) -> ScopedAdmin:
        draft_admin = self.admin_site.get_model_admin(self.parent_model)
        assert isinstance(draft_admin, ScopedAdmin)
        return draft_admin


class VariableInline(PartInline):
    model = WorkflowVariable
    form = VariableForm
    verbose_name = "variable"
    fieldsets = [
        (None, {"fields": [("name", "data_type", "is_required"), "default_value", "description"]})
    ]


class StepInline(PartInline):
    model = WorkflowStep
    form = StepForm
    verbose_name = "step"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("name", "step_type", "step_order"),
                    "depends_on_steps",
                    "config",
                    "description",
                ]
            },
        ),
        (
            "Agent",
            {"classes": ["collapse"], "fields": ["agent_definition_id", "agent_instance_id"]},
        ),
        (
            "Condition, limits, notes",
            {
                "classes": ["collapse"],
                "fields": [
                    "condition_expression",
                    "trigger_rule",
                    ("timeout_seconds", "max_retries"),
                    "metadata",
                ],
            },
        ),
    ]


class DraftAdmin(ScopedAdmin):
    """A draft is saved as a whole, or not at all."""

    form = WorkflowForm
    inlines = [VariableInline, StepInline]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DraftRefused as refused:
            return self._show_again(request, object_id, refused, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """The draft is saved with its parts, by ``save_related``."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        workflow, user = form.instance, signed_in(request)
        document = document_of(form, formsets)
        try:
            if change:
                expected = form.cleaned_data["expected_revision"]
                saved = replace_draft(
                    workflow, document, user=user, expected_revision=expected or 0
                )
            else:
                saved = create_workflow(
                    workspace=workflow.workspace,
                    project=workflow.project,
                    document=document,
                    user=user,
                    publish=False,
                )
            if "_publish" in request.POST:
                self.say_published(request, publish(saved, user=user))
        except MgxError as error:
            place_refusal(error, form, formsets)
            raise DraftRefused(form, formsets) from None
        workflow.pk = saved.pk
        workflow._state.adding = False
        workflow.draft_revision = saved.draft_revision

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, dict[str, list[str]]]]:
        if add:
            return [{"added": {}}]
        return [{"changed": {"fields": [f"draft, revision {form.instance.draft_revision}"]}}]

    def response_post_save_add(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return self._after_save(request, obj) or super().response_post_save_add(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return self._after_save(request, obj) or super().response_post_save_change(request, obj)

    def _after_save(self, request: HttpRequest, workflow: Workflow) -> HttpResponseRedirect | None:
        if "_publish" not in request.POST:
            return None
        return HttpResponseRedirect(reverse("admin:workflows_workflow_change", args=[workflow.pk]))

    def say_published(self, request: HttpRequest, version: WorkflowVersion) -> None:
        """Tell which version new runs start from."""
        text = f"“{version.workflow.name}”: new runs start from version {version.number}."
        self.message_user(request, text, messages.SUCCESS)

    def _show_again(
        self,
        request: HttpRequest,
        object_id: str | None,
        refused: DraftRefused,
        extra_context: dict[str, Any] | None,
    ) -> HttpResponse:
        """Show a refused draft as it was typed, the way Django shows forms that are not valid."""
        form, add = refused.form, object_id is None
        draft = None if add else form.instance
        fieldsets: Any = self.get_fieldsets(request, draft)
        shown = helpers.AdminForm(
            form, fieldsets, {}, self.get_readonly_fields(request, draft), model_admin=self
        )
        inlines = self.get_inline_formsets(
            request, list(refused.formsets), self.get_inline_instances(request, draft), draft
        )
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": f"{'Add' if add else 'Change'} {self.opts.verbose_name}",
            "subtitle": None if add else str(draft),
            "adminform": shown,
            "object_id": object_id,
            "original": draft,
            "is_popup": False,
            "media": sum((inline.media for inline in inlines), self.media + shown.media),
            "inline_admin_formsets": inlines,
            "errors": helpers.AdminErrorList(form, refused.formsets),
            "preserved_filters": self.get_preserved_filters(request),
            **(extra_context or {}),
        }
        page: HttpResponse = self.render_change_form(
            request, context, add=add, change=not add, obj=draft
        )
        return page
