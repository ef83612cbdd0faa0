"""What the services refuse, as a page says it: the fact, the state, the way out."""

from __future__ import annotations

from django.utils import timezone

from approvals.models import WorkflowStepApproval
from workflows.errors import Conflict, InvalidInput, MgxError, NotPermitted
from workflows.wording import say_moment

_VERBS = {
    "approved": "approved this",
    "rejected": "rejected this",
    "request_changes": "asked for changes to this",
    "timeout": "ended this",
    "cancelled": "withdrew this",
}
_NEEDED = {
    "request_changes": "Write what should change.",
    "rejected": "Write why you reject it.",
}


def explain(refusal: MgxError, approval: WorkflowStepApproval, outcome: str) -> tuple[str, str]:
    """Return the field that a refusal belongs to (empty: the whole form), and what to say.

    `approval` is the request as it is now.
    """
    match refusal:
        case InvalidInput(code="feedback_required"):
            return "feedback", _NEEDED.get(outcome, refusal.message)
        case InvalidInput(code="invalid_choice"):
            return "outcome", "Choose what you decide."
        case InvalidInput(code="invalid_response"):
            return "", f"{refusal.message} Your decision was not recorded."
        case InvalidInput():
            return "feedback", refusal.message
        case Conflict(code="already_decided"):
            return "", _before_you(approval)
        case Conflict(code="stale_digest"):
            words = f"Revision {approval.revision} is here. Your comment is kept."
            return "", f"The content changed while you were reading. {words}"
        case Conflict(code="expired"):
            return "", "This request has expired. Your decision was not recorded."
        case Conflict(code="execution_ended"):
            return "", "The run has ended. Your decision was not recorded."
        case NotPermitted(code="reauthentication_required" | "wrong_password"):
            return "password", refusal.message
        case NotPermitted():
            return "", f"{refusal.message} Your decision was not recorded."
    return "", refusal.message


def _before_you(approval: WorkflowStepApproval) -> str:
    winner = approval.approved_by
    who = (winner.get_full_name() or winner.get_username()) if winner else "MGX"
    when = ""
    if approval.responded_at:
        moment = timezone.localtime(approval.responded_at)
        zone = " UTC" if timezone.get_current_timezone_name() == "UTC" else ""
        when = f" {say_moment(moment, timezone.now())}{zone}, before you"
    verb = _VERBS.get(approval.status, "decided this")
    return f"{who} {verb}{when}. Your decision was not recorded."
