"""Steps of type ``approval``: they open a request, and end as it is decided."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from approvals.models import ApprovalStatus, WorkflowStepApproval
from approvals.services.records import decision_events
from approvals.services.requests import Request, open_requests, required_event, withdraw
from workflows.bulk import as_uuid, select
from workflows.core.approval import Approval
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.core.steps import ApprovalStep
from workflows.events import SYSTEM, EventDraft
from workflows.handlers import Opening

_KEPT = {
    "min_approvals",
    "policy",
    "form_schema",
    "max_revisions",
    "reminders",
    "escalate_after_seconds",
    "escalate_to",
}


class _Decided(NamedTuple):
    """What a request came to; ``rules`` is its ``approval_metadata``."""

    status: str
    rules: dict[str, Any]
    feedback: str
    response_data: Any
    digest: str
    decided_by: str | None

    @classmethod
    def read(cls, row: Sequence[Any]) -> "_Decided":
        status, rules, feedback, data, digest, decided_by = row
        return cls(
            status, json.loads(rules), feedback, data and json.loads(data), digest, decided_by
        )


class ApprovalGate:
    """Opens requests in the transaction in which their steps begin to wait."""

    def open(self, openings: Sequence[Opening], now: datetime) -> list[EventDraft]:
        """Ask for the decisions; return an ``approval_required`` event for each."""
        approvals = open_requests([_request(opening) for opening in openings], now)
        return [required_event(approval, actor=SYSTEM) for approval in approvals]

    def close(self, step_execution_ids: Sequence[UUID]) -> dict[UUID, Outcome]:
        """Return the outcome of the steps whose request was decided."""
        rows = select(
            "SELECT step_execution_id, status, approval_metadata, feedback, response_data, digest,"
            " (SELECT u.username FROM workflows_user u WHERE u.id = approved_by_id)"
            " FROM workflow_step_approvals"
            " WHERE step_execution_id = ANY(%s) AND status <> 'pending' ORDER BY revision_count",
            list(step_execution_ids),
        )
        return {as_uuid(row[0]): _outcome(_Decided.read(row[1:])) for row in rows}

    def cancel(self, execution_ids: Sequence[UUID], now: datetime, actor: str) -> list[EventDraft]:
        """Withdraw the open requests of executions that have ended."""
        open_ids = (
            WorkflowStepApproval.objects.pending()
            .filter(workflow_execution_id__in=execution_ids)
            .values_list("id", flat=True)
        )
        return decision_events(withdraw(open_ids, now), actor=actor)

    def withdraw(
        self, step_execution_ids: Sequence[UUID], now: datetime, actor: str
    ) -> list[EventDraft]:
        """Withdraw the open requests of steps that were stopped."""
        open_ids = (
            WorkflowStepApproval.objects.pending()
            .filter(step_execution_id__in=step_execution_ids)
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
        required_approvers=approval.approvers,
        auto_approve_after_seconds=approval.auto_approve_after_seconds,
        expires_after_seconds=approval.expires_after_seconds,
        risk=approval.risk,
        prevent_self_approval=approval.prevent_self_approval,
        rules=_rules(approval),
        project_id=context.project_id,
        requested_by_id=context.started_by_id,
        execution_id=context.execution_id,
        step_execution_id=context.step_execution_id,
    )


def _rules(approval: Approval) -> dict[str, Any]:
    """Return what a request keeps of its gate's rules besides its columns."""
    rules = approval.model_dump(mode="json", include=_KEPT, exclude_defaults=True)
    return {"on_reject": approval.on_reject, "on_timeout": approval.on_timeout, **rules}


def _outcome(decided: _Decided) -> Outcome:
    match decided.status:
        case ApprovalStatus.APPROVED:
            return Completed(_answer(decided))
        case ApprovalStatus.REJECTED if decided.rules.get("on_reject") == "continue":
            return Completed(_answer(decided))
        case ApprovalStatus.REJECTED:
            return _refused(decided, "approval_rejected", "rejected it")
        case ApprovalStatus.REQUEST_CHANGES:
            return _refused(decided, "changes_requested", "asked for changes")
        case ApprovalStatus.TIMEOUT if decided.rules.get("on_timeout") == "continue":
            return Completed(_answer(decided))
        case ApprovalStatus.TIMEOUT:
            message = "Nobody decided in time"
            return Failed("approval_timeout", message, is_final=True, is_timeout=True)
        case _:
            return Failed("approval_cancelled", "The request was cancelled", is_final=True)


def _answer(decided: _Decided) -> dict[str, object]:
    """Return the step's output: the decision, its words and data in places of their own."""
    return {
        "approved": decided.status == ApprovalStatus.APPROVED,
        "status": decided.status,
        "decided_by": decided.decided_by,
        "feedback": decided.feedback,
        "response_data": decided.response_data,
        "digest": decided.digest,
    }


def _refused(decided: _Decided, code: str, words: str) -> Failed:
    who = decided.decided_by or "MGX"
    return Failed(code, f"{who} {words}: {decided.feedback}"[:2_000], is_final=True)
