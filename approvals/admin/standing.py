"""Delegations and standing grants: given and taken back by the services that the API calls."""

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db.models import ForeignKey, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString

from approvals.models import Delegation, StandingGrant
from approvals.services.delegations import delegate_all, revoke_delegation
from approvals.services.grants import give_grant, revoke_grant
from workflows.admin.display import link_to
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import signed_in
from workflows.admin.service_forms import ServiceAdmin, ServiceForm
from workflows.errors import MgxError
from workflows.models import Role, Workflow


class DelegationForm(ServiceForm):
    """Out of office: who decides in one's place, from when until when."""

    to = forms.CharField(label="Username of who stands in", max_length=150)
    starts_at = forms.SplitDateTimeField(
        required=False, widget=AdminSplitDateTime, help_text="Empty: from now on."
    )

    class Meta:
        model = Delegation
        fields = ["workspace", "to", "starts_at", "ends_at", "reason"]

    def call_service(self) -> Delegation:
        said = dict(self.cleaned_data)
        return delegate_all(said.pop("workspace"), user=self.user, **said)


class GrantForm(ServiceForm):
    """What is approved ahead."""

    class Meta:
        model = StandingGrant
        fields = ["workflow", "step_name", "predicate", "max_uses", "expires_at", "note"]
        help_texts = {
            "step_name": "Empty: every approval step.",
            "predicate": "An expression over <code>payload</code>, <code>title</code> and"
            " <code>risk</code>: <code>payload.amount &lt; 100</code>. Empty: every request.",
        }

    def call_service(self) -> StandingGrant:
        said = dict(self.cleaned_data)
        return give_grant(said.pop("workflow"), user=self.user, **said)


class GivenAdmin(ServiceAdmin):
    """Rights that are given and taken back, and never edited.

    ``asked``: the fields of the form that gives one. ``revoke``: the service that takes it back.
    """

    asked: ClassVar[list[str]]
    edited_from = Role.APPROVER
    paginator = BoundedPaginator
    actions = ("revoke_selected",)
    revoke: Callable[..., Any]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(read_at=Now())
        return rows

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else self.asked

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether to offer the action; for each row the service asks again, and exactly."""
        return self.may(request, Role.APPROVER)

    @admin.action(description="Take back", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            try:
                type(self).revoke(row.pk, user=signed_in(request))
            except MgxError as error:
                self.tell_refusal(request, error, f"“{row}”")
            else:
                self.log_change(request, row, "Taken back.")
                self.message_user(request, f"“{row}” is taken back.", messages.SUCCESS)


@admin.register(Delegation)
class DelegationAdmin(GivenAdmin):
    """Who stands in for whom."""

    form = DelegationForm
    asked = DelegationForm.Meta.fields
    revoke = staticmethod(revoke_delegation)
    list_display = ("delegator", "delegate", "state", "of_request", "starts_at", "ends_at")
    list_filter = (WorkspaceFilter, "starts_at")
    list_select_related = ("workspace", "delegator", "delegate", "approval")
    search_fields = ("delegator__username", "delegate__username", "reason")
    ordering = ("-created_at", "id")
    large = ("approval__approval_data", "approval__response_data")
    readonly_fields = ("state", "of_request")
    fields = (
        ("delegator", "delegate"),
        ("workspace", "of_request"),
        ("starts_at", "ends_at"),
        ("state", "revoked_at"),
        "reason",
        ("created_at", "id"),
    )

    @admin.display(description="State")
    def state(self, delegation: Any) -> str:
        if delegation.revoked_at:
            return "Taken back"
        if delegation.starts_at > delegation.read_at:
            return "To come"
        is_over = delegation.ends_at is not None and delegation.ends_at <= delegation.read_at
        return "Over" if is_over else "Holds"

    @admin.display(description="Request")
    def of_request(self, delegation: Delegation) -> SafeString | str:
        return link_to(delegation.approval) if delegation.approval_id else "All"


@admin.register(StandingGrant)
class StandingGrantAdmin(GivenAdmin):
    """What was approved ahead."""

    form = GrantForm
    asked = GrantForm.Meta.fields
    revoke = staticmethod(revoke_grant)
    list_display = ("workflow", "step_name", "granted_by", "state", "used", "expires_at")
    list_filter = (WorkspaceFilter, "expires_at")
    list_select_related = ("workspace", "workflow", "granted_by")
    search_fields = ("workflow__name", "step_name", "granted_by__username", "note")
    ordering = ("-created_at", "id")
    readonly_fields = ("state", "used")
    fields = (
        ("workflow", "step_name"),
        "predicate",
        ("granted_by", "workspace"),
        ("used", "state"),
        ("expires_at", "revoked_at"),
        "note",
        ("created_at", "id"),
    )

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.related_model is Workflow:
            workflows = Workflow.objects.select_related("workspace", "published_version")
            kwargs["queryset"] = workflows.filter(workspace__in=self._editable_workspaces(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @admin.display(description="State")
    def state(self, grant: Any) -> str:
        if grant.revoked_at:
            return "Taken back"
        if grant.uses >= grant.max_uses:
            return "Used up"
        return "Over" if grant.expires_at <= grant.read_at else "Counts"

    @admin.display(description="Used")
    def used(self, grant: StandingGrant) -> str:
        return f"{grant.uses} of {grant.max_uses}"
