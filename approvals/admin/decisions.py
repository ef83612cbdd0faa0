"""Decisions: the record that nobody edits."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from approvals.admin.exports import cell_of
from approvals.models import ApprovalDecision
from workflows.admin.display import json_block, link_to
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin
from workflows.downloads import CSV, attachment, csv_text

#: The columns of an export.
EXPORTED = (
    "record_number",
    "id",
    "approval_id",
    "approval",
    "user",
    "on_behalf_of",
    "outcome",
    "comment",
    "door",
    "is_final",
    "digest",
    "revision",
    "decided_at",
    "previous_hash",
    "hash",
)


@admin.register(ApprovalDecision)
class ApprovalDecisionAdmin(ScopedAdmin):
    """Every decision taken, with who took it and through which door."""

    workspace_lookup = "approval__workspace_id"
    list_display = (
        "record_number",
        "decided_at",
        "of_approval",
        "user",
        "on_behalf_of",
        "outcome",
        "door",
        "is_final",
    )
    list_filter = (WorkspaceFilter, "outcome", "door", "is_final", "decided_at")
    list_select_related = ("approval", "user", "on_behalf_of")
    actions = ("export_selected",)
    large = (
        "response_data",
        "edited_data",
        "approval__approval_data",
        "approval__response_data",
        "approval__description",
    )
    search_fields = ("approval__title", "user__username", "=approval__id")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        "of_approval",
        ("user", "on_behalf_of", "outcome", "door"),
        ("decided_at", "revision", "is_final"),
        ("stands_for", "of_grant", "taken_back"),
        "comment",
        "response",
        "edited",
        "digest",
        ("record_number", "hash", "previous_hash"),
        "id",
    )

    @admin.display(description="Request")
    def of_approval(self, decision: ApprovalDecision) -> SafeString | str:
        return link_to(decision.approval)

    @admin.display(description="Standing grant")
    def of_grant(self, decision: ApprovalDecision) -> SafeString | str:
        return link_to(decision.grant)

    @admin.display(description="Takes back")
    def taken_back(self, decision: ApprovalDecision) -> SafeString | str:
        return link_to(decision.retracts)

    @admin.display(description="Payload as edited")
    def edited(self, decision: ApprovalDecision) -> SafeString | str:
        return json_block(decision.edited_data)

    @admin.display(description="Response data")
    def response(self, decision: ApprovalDecision) -> SafeString | str:
        return json_block(decision.response_data)

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        rows = queryset.order_by("workspace_id", "record_number")[: BoundedPaginator.MAX_ROWS]
        cells = ([cell_of(row, name) for name in EXPORTED] for row in rows)
        return attachment(csv_text([EXPORTED, *cells]).encode(), CSV, "decisions.csv")
