"""Questions about requests, and their answers: asked and answered on the pages and over REST."""

from django.contrib import admin
from django.utils.safestring import SafeString

from approvals.models import ApprovalQuestion
from workflows.admin.display import link_to
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin


@admin.register(ApprovalQuestion)
class ApprovalQuestionAdmin(ScopedAdmin):
    """What was asked, newest first."""

    workspace_lookup = "approval__workspace_id"
    list_display = ("asked_at", "of_approval", "asked_by", "body_begins", "answered_by")
    list_filter = (WorkspaceFilter, "asked_at")
    list_select_related = ("approval", "asked_by", "answered_by")
    large = ("approval__approval_data", "approval__response_data")
    search_fields = ("approval__title", "asked_by__username", "=approval__id")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        "of_approval",
        ("asked_by", "asked_at"),
        "body",
        ("answered_by", "answered_at"),
        "answer",
        "id",
    )

    @admin.display(description="Request")
    def of_approval(self, question: ApprovalQuestion) -> SafeString | str:
        return link_to(question.approval)

    @admin.display(description="Question")
    def body_begins(self, question: ApprovalQuestion) -> str:
        return question.body[:80]
