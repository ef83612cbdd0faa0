"""Who may decide on a request, and why somebody else may not.

The rule is one condition of the database, asked at the moment of the decision: membership, the
named approvers, the role, and the rule against deciding on one's own run. Agents have no user
and so never have the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from approvals.models import WorkflowStepApproval
from workflows.models import Role, User

if TYPE_CHECKING:
    from workflows.querysets import Reader


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether a person may decide; if not, a stable ``code`` and ``why`` in words to them."""

    allowed: bool
    code: str = ""
    why: str = ""


def may_decide(user: Reader) -> RawSQL:
    """Return the condition on a request that ``user`` has the right to decide on it.

    It is SQL, for the ORM takes longer to put it together than the database to answer it, and
    every decision asks. Use it on a query's own table, not in a subquery.
    """
    return RawSQL(MAY_DECIDE, [user.pk], output_field=BooleanField())


def _holds_named_role() -> str:
    """Return the condition that the member has the role that the approver row names, or more."""
    roles = (
        f"n.role = '{role.value}' AND m.role IN ({_listed(Role.from_(role))})" for role in Role
    )
    return " OR ".join(f"({condition})" for condition in roles)


def _listed(roles: list[str]) -> str:
    return ", ".join(f"'{role}'" for role in roles)


#: The condition on a row of ``workflow_step_approvals``; its one place is the user's id. A request
#: with names is for those names alone, even if none of them exists any more.
MAY_DECIDE = f"""EXISTS (
    SELECT 1 FROM workflows_membership m JOIN workflows_user u ON u.id = m.user_id
    WHERE m.user_id = %s AND u.is_active
      AND m.workspace_id = workflow_step_approvals.workspace_id
      AND NOT (workflow_step_approvals.prevent_self_approval
               AND coalesce(workflow_step_approvals.requested_by_id, 0) = m.user_id)
      AND CASE WHEN workflow_step_approvals.required_approvers = '[]'
          THEN m.role IN ({_listed(Role.from_(Role.APPROVER))})
          ELSE EXISTS (
              SELECT 1 FROM approvals_approvalapprover n
              WHERE n.approval_id = workflow_step_approvals.id
                AND (n.user_id = m.user_id OR {_holds_named_role()} OR n.group_id IN (
                    SELECT g.group_id FROM workflows_user_groups g WHERE g.user_id = m.user_id)))
          END)"""


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
