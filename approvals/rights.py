"""Who may decide on a request, and why somebody else may not.

The rule is one condition of the database, asked at the moment of the decision: membership, the
named approvers, the role, and the rule against deciding on one's own run. Agents have no user
and so never have the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q

from approvals.models import ApprovalApprover, WorkflowStepApproval
from workflows.models import Membership, Role, User

if TYPE_CHECKING:
    from workflows.querysets import Reader


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether a person may decide; if not, a stable ``code`` and ``why`` in words to them."""

    allowed: bool
    code: str = ""
    why: str = ""


def may_decide(user: Reader) -> Q:
    """Return the condition on a request that ``user`` has the right to decide on it."""
    member = Membership.objects.filter(
        workspace_id=OuterRef("workspace_id"), user_id=user.pk, user__is_active=True
    )
    of_its_workspace = Membership.objects.filter(
        workspace_id=OuterRef("approval__workspace_id"), user_id=user.pk
    )
    has_named_role = Q()
    for role in Role:
        holders = of_its_workspace.filter(role__in=Role.from_(role))
        has_named_role |= Q(role=role) & Exists(holders)
    named = ApprovalApprover.objects.filter(
        Q(user_id=user.pk) | Q(group__user=user.pk) | has_named_role, approval_id=OuterRef("pk")
    )
    is_approver = Exists(member.filter(role__in=Role.from_(Role.APPROVER)))
    # Not "no approver row exists": a name that has gone must not open the request to everybody.
    is_for_everybody = Q(required_approvers=[])
    is_own = Q(prevent_self_approval=True, requested_by_id=user.pk)
    return Q(Exists(member)) & (Q(is_for_everybody & is_approver) | Exists(named)) & ~is_own


def can_decide(user: User, approval: WorkflowStepApproval) -> Eligibility:
    """Tell whether ``user`` has the right to decide on ``approval``, whatever its status."""
    asked = WorkflowStepApproval.objects.filter(may_decide(user), id=approval.id)
    if asked.exists():
        return Eligibility(allowed=True)
    return explain_refusal(user, approval)


def explain_refusal(user: User, approval: WorkflowStepApproval) -> Eligibility:
    """Say why ``user``, who has no right to decide on ``approval``, has none."""
    if approval.prevent_self_approval and (approval.requested_by_id == user.pk):
        return Eligibility(
            False, "self_approval", "You started this run, so you cannot decide on it."
        )
    if approval.required_approvers:
        names = ", ".join(map(str, approval.required_approvers))
        return Eligibility(False, "not_an_approver", f"Only {names} may decide on this.")
    return Eligibility(
        False, "not_an_approver", "Deciding needs the role approver or a higher one."
    )
