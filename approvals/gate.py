"""Steps of type ``approval``: they open a request, and end as it is decided."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from approvals.models import ApprovalStatus, WorkflowStepApproval
from approvals.services.records import decision_events
from approvals.services.requests import Request, open_requests, required_event, withdraw
from workflows.core.definition import ApprovalStep
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.events import SYSTEM, EventDraft
from workflows.handlers import Opening


class ApprovalGate:
    """Opens requests in the transaction in which their steps begin to wait."""

    def open(self, openings: Sequence[Opening], now: datetime) -> list[EventDraft]:
        """Ask for the decisions; return an ``approval_required`` event for each."""
        approvals = open_requests([_request(opening) for opening in openings], now)
        return [required_event(approval, actor=SYSTEM) for approval in approvals]

    def close(self, step_execution_ids: Sequence[UUID]) -> dict[UUID, Outcome]:
        """Return the outcome of the steps whose request was decided."""
        decided = (
            WorkflowStepApproval.objects.decided()
            .filter(step_execution_id__in=step_execution_ids)
            .select_related("approved_by")
            .order_by("revision_count")
        )
        return {approval.step_execution_id: _outcome(approval) for approval in decided}

    def cancel(self, execution_ids: Sequence[UUID], now: datetime, actor: str) -> list[EventDraft]:
        """Withdraw the open requests of executions that have ended."""
        open_ids = (
            WorkflowStepApproval.objects.pending()
            .filter(workflow_execution_id__in=execution_ids)
            .values_list("id", flat=True)
        )
        return decision_events(withdraw(open_ids, now), actor=actor)


def _request(opening: Opening) -> Request:
    context = opening.context
    step = context.step
    assert isinstance(step, ApprovalStep)
    approval = step.config.approval
    return Request(
        workspace_id=context.workspace_id,
        title=opening.texts["title"],
        description=opening.texts["description"],
        approval_data=opening.payload,
        required_approvers=approval.required_approvers,
        auto_approve_after_seconds=approval.auto_approve_after_seconds,
        expires_after_seconds=approval.expires_after_seconds,
        risk=approval.risk,
        prevent_self_approval=approval.prevent_self_approval,
        rules={"on_reject": approval.on_reject, "on_timeout": approval.on_timeout},
        project_id=context.project_id,
        requested_by_id=context.started_by_id,
        execution_id=context.execution_id,
        step_execution_id=context.step_execution_id,
    )


def _outcome(approval: WorkflowStepApproval) -> Outcome:
    rules = approval.approval_metadata
    match approval.status:
        case ApprovalStatus.APPROVED:
            return Completed(_answer(approval))
        case ApprovalStatus.REJECTED if rules.get("on_reject") == "continue":
            return Completed(_answer(approval))
        case ApprovalStatus.REJECTED:
            return _refused(approval, "approval_rejected", "rejected it")
        case ApprovalStatus.REQUEST_CHANGES:
            return _refused(approval, "changes_requested", "asked for changes")
        case ApprovalStatus.TIMEOUT if rules.get("on_timeout") == "continue":
            return Completed(_answer(approval))
        case ApprovalStatus.TIMEOUT:
            message = "Nobody decided in time"
            return Failed("approval_timeout", message, is_final=True, is_timeout=True)
        case _:
            return Failed("approval_cancelled", "The request was cancelled", is_final=True)


def _answer(approval: WorkflowStepApproval) -> dict[str, object]:
    """Return the step's output: the decision, its words and data in places of their own."""
    return {
        "approved": approval.status == ApprovalStatus.APPROVED,
        "status": approval.status,
        "decided_by": approval.approved_by.username if approval.approved_by else None,
        "feedback": approval.feedback,
        "response_data": approval.response_data,
        "digest": approval.digest,
    }


def _refused(approval: WorkflowStepApproval, code: str, words: str) -> Failed:
    who = approval.approved_by.username if approval.approved_by else "MGX"
    return Failed(code, f"{who} {words}: {approval.feedback}"[:2_000], is_final=True)
