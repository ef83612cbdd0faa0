"""Requests for approval: rows that nobody edits, and the form that decides them."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.admin.exports import cell_of
from approvals.admin.forms import DecisionForm, ManyForm
from approvals.models import (
    ApprovalComment,
    ApprovalDecision,
    ApprovalStatus,
    Door,
    Outcome,
    WorkflowStepApproval,
)
from approvals.rights import can_decide
from approvals.services.decisions import Decision, DecisionResult
from approvals.sign_in import decide_in_session
from approvals.tally import tally
from workflows.admin.display import json_block, link_to, related_lists
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin, signed_in
from workflows.downloads import CSV, attachment, csv_text
from workflows.errors import InvalidInput, MgxError
from workflows.models import Role
from workflows.templatetags.mgx import approval_badge, risk_mark

if TYPE_CHECKING:
    TabularInline = admin.TabularInline[Any, Any]
else:
    TabularInline = admin.TabularInline

#: The columns of an export.
EXPORTED = (
    "id",
    "workspace",
    "workflow_execution",
    "title",
    "status",
    "risk",
    "revision",
    "digest",
    "requested_by",
    "requested_at",
    "expires_at",
    "approved_by",
    "responded_at",
    "feedback",
)


class ReadOnlyInline(TabularInline):
    """Rows beside a request; the service writes them."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DecisionInline(ReadOnlyInline):
    model = ApprovalDecision
    fk_name = "approval"
    fields = (
        "record_number",
        "decided_at",
        "user",
        "on_behalf_of",
        "outcome",
        "comment",
        "door",
        "revision",
        "is_final",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "on_behalf_of")


class CommentInline(ReadOnlyInline):
    model = ApprovalComment
    fields = ("created_at", "author", "body")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("author")


@admin.register(WorkflowStepApproval)
class WorkflowStepApprovalAdmin(ScopedAdmin):
    """Requests, newest first."""

    inlines = (DecisionInline, CommentInline)
    list_display = (
        "title",
        "state",
        "risk_shown",
        "workspace",
        "of_run",
        "requested_at",
        "expires_at",
        "approved_by",
    )
    list_filter = (
        WorkspaceFilter,
        "status",
        "risk",
        "requested_at",
        ("escalated_at", admin.EmptyFieldListFilter),
        ("clock_stopped_at", admin.EmptyFieldListFilter),
        ("workflow_execution", admin.EmptyFieldListFilter),
    )
    list_select_related = ("workspace", "workflow_execution__workflow", "approved_by")
    large = (
        "approval_data",
        "response_data",
        "workflow_execution__input_variables",
        "workflow_execution__output_data",
    )
    search_fields = ("title", "=id", "=workflow_execution__id")
    search_help_text = "Words of the title, or the id of a request or a run"
    ordering = ("-id",)
    paginator = BoundedPaginator
    actions = (
        "approve_selected",
        "request_changes_selected",
        "reject_selected",
        "export_selected",
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("state", "risk_shown"),
                    ("workspace", "project"),
                    ("of_run", "of_step", "requested_by"),
                    ("requested_at", "expires_at", "auto_approve_after_seconds"),
                    ("clock_stopped_at", "escalated_at"),
                    ("required_approvers", "prevent_self_approval"),
                    "votes",
                    ("approved_by", "responded_at"),
                    "feedback",
                    ("revision_shown", "parent"),
                    "digest",
                    "lists",
                )
            },
        ),
        (
            "Written by the workflow: MGX has not checked any of it",
            {"classes": ("untrusted",), "fields": ("title", "description", "payload")},
        ),
        (
            "More",
            {"classes": ("collapse",), "fields": ("response", "rules", "id")},
        ),
    )

    @admin.display(description="Status", ordering="status")
    def state(self, approval: WorkflowStepApproval) -> SafeString:
        return approval_badge(approval.status)

    @admin.display(description="Risk", ordering="risk")
    def risk_shown(self, approval: WorkflowStepApproval) -> SafeString:
        return risk_mark(approval.risk)

    @admin.display(description="Run")
    def of_run(self, approval: WorkflowStepApproval) -> SafeString | str:
        return link_to(approval.workflow_execution)

    @admin.display(description="Step")
    def of_step(self, approval: WorkflowStepApproval) -> SafeString | str:
        return link_to(approval.step_execution)

    @admin.display(description="Revision")
    def revision_shown(self, approval: WorkflowStepApproval) -> int:
        return approval.revision

    @admin.display(description="Approvals")
    def votes(self, approval: WorkflowStepApproval) -> str:
        counted = tally(approval)
        missing = f"; missing: {', '.join(counted.missing)}" if counted.missing else ""
        return f"{counted.given} of {counted.needed}{missing}"

    @admin.display(description="Earlier request")
    def parent(self, approval: WorkflowStepApproval) -> SafeString | str:
        return link_to(approval.parent_approval)

    @admin.display(description="See its")
    def lists(self, approval: WorkflowStepApproval) -> SafeString | str:
        return related_lists(approval, self.admin_site)

    @admin.display(description="Data")
    def payload(self, approval: WorkflowStepApproval) -> SafeString | str:
        return json_block(approval.approval_data)

    @admin.display(description="Response data")
    def response(self, approval: WorkflowStepApproval) -> SafeString | str:
        return json_block(approval.response_data)

    @admin.display(description="Rules")
    def rules(self, approval: WorkflowStepApproval) -> SafeString | str:
        return json_block(approval.approval_metadata)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whether to offer the actions; for each request the service asks again, and exactly."""
        return self.may(request, Role.VIEWER)

    # --- one request ----------------------------------------------------------------------------

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a request with the form that decides it; a POST is a decision."""
        approval = self.get_object(request, object_id)
        if approval is None:
            return super().change_view(request, object_id, form_url, extra_context)
        form = DecisionForm(request.POST or None, approval)
        if request.method == "POST" and form.is_valid() and self._decide(request, approval, form):
            return HttpResponseRedirect(request.get_full_path())
        eligibility = can_decide(signed_in(request), approval)
        context = {
            **(extra_context or {}),
            "decision_form": form,
            "eligibility": eligibility,
            "is_pending": approval.status == ApprovalStatus.PENDING,
        }
        # The row has no form of its own: whatever was posted, it is shown as on GET.
        shown = copy.copy(request)
        shown.method = "GET"
        return super().change_view(shown, object_id, form_url, context)

    def _decide(self, request: HttpRequest, approval: Any, form: DecisionForm) -> bool:
        """Record a decision; False where the form has to be filled in better."""
        try:
            decision = form.decision_on(approval.pk)
            (result,) = decide_in_session(request, [decision], door=Door.ADMIN)
            if isinstance(result, MgxError):
                raise result
        except InvalidInput as error:
            for problem in error.problems:
                field, _, place = problem.path.removeprefix("/").partition("/")
                message = f"{place}: {problem.message}" if place else problem.message
                form.add_error(field if field in form.fields else None, message)
            return False
        except MgxError as error:
            self.tell_refusal(request, error)
        else:
            self._say_decided(request, result)
        return True

    def _say_decided(self, request: HttpRequest, result: DecisionResult) -> None:
        approval = result.approval
        outcome = ApprovalStatus(approval.status).label
        before = " already" if result.repeated else ""
        said = f"{outcome}." if result.is_final else "More approvals are needed."
        text = format_html("“{}”: your decision is{} recorded. {}", approval, before, said)
        self.message_user(request, text, messages.SUCCESS)
        if not result.repeated:
            self.log_change(request, approval, said)

    # --- several at once ------------------------------------------------------------------------

    @admin.action(description="Approve …", permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._ask_many(request, queryset, Outcome.APPROVED, "Approve")

    @admin.action(description="Request changes …", permissions=["decide"])
    def request_changes_selected(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse:
        return self._ask_many(request, queryset, Outcome.REQUEST_CHANGES, "Request changes of")

    @admin.action(description="Reject …", permissions=["decide"])
    def reject_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._ask_many(request, queryset, Outcome.REJECTED, "Reject")

    def _ask_many(
        self, request: HttpRequest, queryset: QuerySet[Any], outcome: Outcome, verb: str
    ) -> HttpResponse:
        """Show what is about to be decided; the digests of what was shown come back with it."""
        approvals = list(queryset)
        form = ManyForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            if outcome == Outcome.APPROVED or form.cleaned_data["feedback"].strip():
                self._decide_many(request, approvals, outcome, form.cleaned_data["feedback"])
                return HttpResponseRedirect(request.get_full_path())
            form.add_error("feedback", "Write what is wrong, or what should change.")
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb} {len(approvals)} request{'s' if len(approvals) != 1 else ''}",
            "opts": self.opts,
            "approvals": [
                (approval, request.POST.get(f"digest-{approval.pk}", approval.digest))
                for approval in approvals
            ],
            "form": form,
            "action_name": request.POST["action"],
        }
        return TemplateResponse(
            request, "admin/approvals/workflowstepapproval/decide_many.html", context
        )

    def _decide_many(
        self, request: HttpRequest, approvals: Sequence[Any], outcome: Outcome, feedback: str
    ) -> None:
        decisions = [
            Decision(each.pk, outcome, feedback, digest=request.POST.get(f"digest-{each.pk}", ""))
            for each in approvals
        ]
        results = decide_in_session(request, decisions, door=Door.ADMIN)
        for approval, result in zip(approvals, results, strict=True):
            if isinstance(result, MgxError):
                self.tell_refusal(request, result, f"“{approval}”")
            else:
                self._say_decided(request, result)

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        rows = queryset.select_related("requested_by")[: BoundedPaginator.MAX_ROWS]
        cells = ([cell_of(row, name) for name in EXPORTED] for row in rows)
        return attachment(csv_text([EXPORTED, *cells]).encode(), CSV, "requests.csv")
