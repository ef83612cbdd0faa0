"""Decisions: the record that nobody edits."""

from django.contrib import admin
from django.utils.safestring import SafeString

from approvals.models import ApprovalDecision
from workflows.admin.display import json_block, link_to
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin


@admin.register(ApprovalDecision)
class ApprovalDecisionAdmin(ScopedAdmin):
    """Every decision taken, with who took it and through which door."""

    workspace_lookup = "approval__workspace_id"
    list_display = ("decided_at", "of_approval", "user", "outcome", "door", "is_final")
    list_filter = (WorkspaceFilter, "outcome", "door", "decided_at")
    list_select_related = ("approval", "user")
    large = ("response_data", "approval__approval_data", "approval__response_data")
    search_fields = ("approval__title", "user__username", "=approval__id")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        "of_approval",
        ("user", "outcome", "door"),
        ("decided_at", "revision", "is_final"),
        "comment",
        "response",
        "digest",
        "id",
    )

    @admin.display(description="Request")
    def of_approval(self, decision: ApprovalDecision) -> SafeString | str:
        return link_to(decision.approval)

    @admin.display(description="Response data")
    def response(self, decision: ApprovalDecision) -> SafeString | str:
        return json_block(decision.response_data)
