"""The answer to a decision, put together by hand, for every decision is answered.

It says of a request what ``ApprovalSerializer`` says, but for its questions and its other
revisions, in a fraction of the time; a test holds the two to the same words.
"""

from typing import Any

from approvals.api.answers import why_closed
from approvals.api.serializers import DecidedSerializer, DecisionSerializer
from approvals.models import ApprovalDecision, WorkflowStepApproval
from approvals.rights import can_decide
from approvals.services.decisions import DecisionResult
from approvals.tally import tally
from workflows.bulk import select, select_objects
from workflows.models import User

_NAMES = """SELECT w.slug, p.slug, f.name FROM workflow_step_approvals a
    JOIN workflows_workspace w ON w.id = a.workspace_id
    LEFT JOIN workflows_project p ON p.id = a.project_id
    LEFT JOIN workflows_workflowexecution e ON e.id = a.workflow_execution_id
    LEFT JOIN workflows_workflow f ON f.id = e.workflow_id
    WHERE a.id = %s"""


def decided_document(result: DecisionResult, user: User) -> dict[str, Any]:
    """Return the request of ``result`` as its decision left it, as ``user`` sees it now."""
    approval: Any = result.approval
    rows = select_objects(
        ApprovalDecision, "WHERE approval_id = %s ORDER BY decided_at", approval.id
    )
    decisions = [row[0] for row in rows]
    _remember(approval, decisions)
    usernames = _usernames(approval, decisions, user)
    workspace, project, workflow = select(_NAMES, approval.id)[0]
    approval.has_expired = False
    eligibility = why_closed(approval) or can_decide(user, approval)
    refusal = {"code": eligibility.code, "message": eligibility.why}
    counted = tally(approval)
    known = {
        "workspace": workspace,
        "project": project,
        "workflow": workflow,
        "requested_by": usernames.get(approval.requested_by_id),
        "approved_by": usernames.get(approval.approved_by_id),
        "max_revisions": approval.approval_metadata.get("max_revisions"),
        "approvals_given": counted.given,
        "approvals_needed": counted.needed,
        "missing": counted.missing,
        "can_decide": eligibility.allowed,
        "decisions": [_decision(each, usernames) for each in decisions],
        "form_schema": approval.approval_metadata.get("form_schema"),
        "cannot_decide_because": None if eligibility.allowed else refusal,
        "is_final": result.is_final,
    }
    fields = DecidedSerializer.Meta.fields
    return {name: known[name] if name in known else getattr(approval, name) for name in fields}


def _remember(approval: WorkflowStepApproval, decisions: list[ApprovalDecision]) -> None:
    """Let a request know its decisions, as if they had been prefetched."""
    known: Any = approval.decisions.all()
    known._result_cache = decisions
    approval._prefetched_objects_cache = {"decisions": known}  # type: ignore[attr-defined]


def _usernames(
    approval: WorkflowStepApproval, decisions: list[ApprovalDecision], user: User
) -> dict[int | None, str]:
    ids = {approval.requested_by_id, approval.approved_by_id}
    for decision in decisions:
        ids |= {decision.user_id, decision.on_behalf_of_id}
    known: dict[int | None, str] = {user.pk: user.username}
    if others := [each for each in ids - {user.pk} if each is not None]:
        known |= select("SELECT id, username FROM workflows_user WHERE id = ANY(%s)", others)
    return known


def _decision(decision: ApprovalDecision, usernames: dict[int | None, str]) -> dict[str, Any]:
    known = {
        "user": usernames.get(decision.user_id),
        "on_behalf_of": usernames.get(decision.on_behalf_of_id),
    }
    return {
        name: known[name] if name in known else getattr(decision, name)
        for name in DecisionSerializer.Meta.fields
    }
