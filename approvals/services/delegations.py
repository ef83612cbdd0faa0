"""Delegation: who may decide what another may, for one request or for a time.

A delegate decides by the delegator's own right, which is asked for at the decision
(``approvals/rights.py``): it ends with the delegator's, and cannot be handed on.
"""

from datetime import datetime, timedelta
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction

from approvals.models import Delegation, WorkflowStepApproval
from approvals.rights import explain_refusal, has_own_right
from approvals.services.pending import lock_pending, refuse_expired
from approvals.services.records import approval_event
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import InvalidInput, NotPermitted, NotVisible
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Membership, Role, User, Workspace
from workflows.services.access import require_role
from workflows.services.texts import text_problem

MAX_REASON = 500
LONGEST = timedelta(days=366)


def delegate(approval_id: UUID, *, to: str, user: User, reason: str = "") -> Delegation:
    """Let ``to``, a member's username, decide on a request what ``user`` may decide themselves.

    Doing it again changes nothing.

    Raises:
        NotVisible: no such request.
        NotPermitted: ``not_an_approver``, ``self_approval``: ``user`` has no right of their own.
        InvalidInput: ``unknown_member``, ``not_an_approver``, ``to_yourself``, ``self_approval``.
        Conflict: ``already_decided``, ``expired``.
    """
    with transaction.atomic():
        approval = lock_pending(approval_id, user)
        now = database_now()
        refuse_expired(approval, now)
        own = WorkflowStepApproval.objects.filter(has_own_right(user), id=approval.id)
        if not own.exists():
            raise _no_right(user, approval)
        receiver, problems = _find_receiver(to, user, approval.workspace_id)
        problems += _reason_problems(reason)
        if receiver and approval.prevent_self_approval and receiver.pk == approval.requested_by_id:
            words = f"{to} asked for this, and so cannot decide on it."
            problems.append(Problem("", "self_approval", words, "/to"))
        if problems or receiver is None:
            raise _invalid(problems)
        made, is_new = Delegation.objects.get_or_create(
            workspace_id=approval.workspace_id,
            approval=approval,
            delegator=user,
            delegate=receiver,
            revoked_at=None,
            defaults={"reason": reason, "starts_at": now, "created_at": now},
        )
        if is_new:
            _tell(made, EventType.APPROVAL_DELEGATED, user, now)
    return made


def delegate_all(
    workspace: Workspace,
    *,
    to: str,
    user: User,
    starts_at: datetime | None,
    ends_at: datetime,
    reason: str = "",
) -> Delegation:
    """Let ``to``, a member's username, decide whatever ``user`` may, from start to end.

    Without ``starts_at`` from now on. Raises NotVisible, NotPermitted (role approver), and
    InvalidInput with everything wrong.
    """
    require_role(user, workspace.pk, Role.APPROVER)
    receiver, problems = _find_receiver(to, user, workspace.pk)
    problems += _reason_problems(reason)
    with transaction.atomic():
        now = database_now()
        starts_at = max(starts_at or now, now)
        if starts_at - now > LONGEST:
            words = f"A delegation begins within {LONGEST.days} days."
            problems.append(Problem("", "out_of_range", words, "/starts_at"))
        if not timedelta(0) < ends_at - starts_at <= LONGEST:
            words = f"The end comes after the start, at most {LONGEST.days} days later."
            problems.append(Problem("", "out_of_range", words, "/ends_at"))
        if problems or receiver is None:
            raise _invalid(problems)
        made = Delegation.objects.create(
            workspace=workspace,
            delegator=user,
            delegate=receiver,
            reason=reason,
            starts_at=starts_at,
            ends_at=ends_at,
            created_at=now,
        )
        _tell(made, EventType.APPROVAL_DELEGATED, user, now)
    return made


def revoke_delegation(delegation_id: UUID, *, user: User) -> Delegation:
    """End a delegation at once; doing it again changes nothing.

    Raises NotVisible, and NotPermitted unless ``user`` gave it or is an admin.
    """
    with transaction.atomic():
        visible = Delegation.objects.visible_to(user).filter(id=delegation_id)
        locked = visible.select_for_update(of=("self",)).select_related(
            "delegator", "delegate", "approval"
        )
        found: Delegation | None = locked.first()
        if found is None:
            raise NotVisible("There is no such delegation.")
        if found.delegator_id != user.pk:
            require_role(user, found.workspace_id, Role.ADMIN)
        if found.revoked_at is None:
            now = database_now()
            found.revoked_at = now
            found.save(update_fields=["revoked_at"])
            _tell(found, EventType.DELEGATION_REVOKED, user, now)
    return found


def _no_right(user: User, approval: WorkflowStepApproval) -> NotPermitted:
    stands_in = WorkflowStepApproval.objects.decidable_by(user).filter(id=approval.id)
    if stands_in.exists():
        words = "You decide on this in another's place; that cannot be handed on."
        return NotPermitted(words, code="not_an_approver")
    eligibility = explain_refusal(user, approval)
    return NotPermitted(eligibility.why, code=eligibility.code)


def _find_receiver(
    username: str, user: User, workspace_id: UUID
) -> tuple[User | None, list[Problem]]:
    """Return the member that is to stand in, or what keeps them from it."""
    if not username.strip():
        return None, [Problem("", "required", "Name who stands in for you.", "/to")]
    if problem := text_problem("to", username, 150):
        return None, [problem]
    if username == user.username:
        return None, [Problem("", "to_yourself", "Name somebody else.", "/to")]
    members = Membership.objects.filter(workspace_id=workspace_id, user__is_active=True)
    member = members.filter(user__username=username).select_related("user").first()
    if member is None:
        words = f"“{username}” is no active member of this workspace."
        return None, [Problem("", "unknown_member", words, "/to")]
    if Role(member.role).rank < Role.APPROVER.rank:
        words = f"{username} is {member.role} here; standing in needs the role approver."
        return None, [Problem("", "not_an_approver", words, "/to")]
    return member.user, []


def _reason_problems(reason: str) -> list[Problem]:
    problem = text_problem("reason", reason, MAX_REASON)
    return [problem] if problem else []


def _invalid(problems: list[Problem]) -> InvalidInput:
    code = problems[0].error_type if len(problems) == 1 else None
    return InvalidInput("This cannot be delegated like this.", problems, code=code)


def _tell(delegation: Delegation, event_type: EventType, user: User, now: datetime) -> None:
    giver, taker = delegation.delegator.username, delegation.delegate.username
    actor = f"user:{user.username}"
    is_over = event_type == EventType.DELEGATION_REVOKED
    verb = "taken back from" if is_over else "delegated to"
    if delegation.approval is not None:
        event = approval_event(delegation.approval, event_type, f"{verb} {taker}", actor=actor)
    else:
        event = EventDraft(
            event_type=event_type,
            workspace_id=delegation.workspace_id,
            actor=actor,
            message=f"What {giver} may decide was {verb} {taker}",
        )
    event.data |= {
        "delegation_id": str(delegation.id),
        "delegator": giver,
        "delegate": taker,
        "starts_at": delegation.starts_at.isoformat(),
        "ends_at": delegation.ends_at.isoformat() if delegation.ends_at else None,
        "reason": delegation.reason,
    }
    append_events([event], now)


adelegate = sync_to_async(delegate)
