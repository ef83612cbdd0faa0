"""Who may decide on a request, and why somebody else may not.

The rule is one condition of the database, asked at the moment of the decision: an active member
with the role approver or a higher one, who is among the named approvers if any are named, or
holds the delegation of such a member; and the rule against deciding on one's own run, which
holds for delegates too. Agents have no user and so never have the right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from approvals.models import WorkflowStepApproval
from workflows.bulk import as_uuid, select
from workflows.models import Membership, Role, User

if TYPE_CHECKING:
    from workflows.querysets import Reader

#: What ``RIGHT`` is for who has the right of their own, and for who has it as a delegate.
OWN, DELEGATED = 1, 2


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether a person may decide; if not, a stable ``code`` and ``why`` in words to them."""

    allowed: bool
    code: str = ""
    why: str = ""


class Entry(NamedTuple):
    """One of a request's approvers whose place a person can take."""

    name: str
    is_escalation: bool


def may_decide(user: Reader) -> RawSQL:
    """Return the condition on a request that ``user`` has the right to decide on it.

    It is SQL, for the ORM takes longer to put it together than the database to answer it, and
    every decision asks. Use it on a query's own table, not in a subquery.
    """
    return RawSQL(MAY_DECIDE, [user.pk], output_field=BooleanField())


def has_own_right(user: Reader) -> RawSQL:
    """Return the condition on a request that ``user`` has that right without being a delegate."""
    return RawSQL(f"{RIGHT} = {OWN}", [user.pk], output_field=BooleanField())


def _listed(roles: list[str]) -> str:
    return ", ".join(f"'{role}'" for role in roles)


_DECIDING = _listed(Role.from_(Role.APPROVER))


def _takes(member: str) -> str:
    """Return the condition that the approver ``n`` names ``member``, a row of memberships."""
    roles = " OR ".join(
        f"(n.role = '{role.value}' AND {member}.role IN ({_listed(Role.from_(role))}))"
        for role in Role
    )
    return (
        f"(n.user_id = {member}.user_id OR {roles} OR n.group_id IN ("
        f"SELECT g.group_id FROM workflows_user_groups g WHERE g.user_id = {member}.user_id))"
    )


def _is_named(member: str) -> str:
    """Return the condition that a request is for ``member``: nobody is named, or they are.

    A request with names is for those names alone, even if none of them exists any more.
    """
    return f"""(workflow_step_approvals.required_approvers = '[]' OR EXISTS (
        SELECT 1 FROM approvals_approvalapprover n
        WHERE n.approval_id = workflow_step_approvals.id AND {_takes(member)}))"""


def _holds(delegation: str) -> str:
    """Return the condition that a delegation holds now, for this request."""
    return f"""({delegation}.workspace_id = workflow_step_approvals.workspace_id
        AND {delegation}.revoked_at IS NULL AND {delegation}.starts_at <= statement_timestamp()
        AND coalesce({delegation}.ends_at > statement_timestamp(), true)
        AND coalesce({delegation}.approval_id = workflow_step_approvals.id, true))"""


#: Those whose delegate the member ``m`` is for a request, and who could decide on it themselves.
_DELEGATORS = f"""approvals_delegation d
    JOIN workflows_membership b ON b.user_id = d.delegator_id AND b.workspace_id = d.workspace_id
    JOIN workflows_user w ON w.id = b.user_id
    WHERE d.delegate_id = m.user_id AND {_holds("d")}
      AND w.is_active AND b.role IN ({_DECIDING}) AND {_is_named("b")}"""

_MEMBER = f"""FROM workflows_membership m JOIN workflows_user u ON u.id = m.user_id
    WHERE m.user_id = %s AND u.is_active AND m.role IN ({_DECIDING})
      AND m.workspace_id = workflow_step_approvals.workspace_id
      AND NOT (workflow_step_approvals.prevent_self_approval
               AND (coalesce(workflow_step_approvals.requested_by_id, 0) = m.user_id
                    OR EXISTS (SELECT 1 FROM approvals_delegation s
                               WHERE s.delegator_id = workflow_step_approvals.requested_by_id
                                 AND s.delegate_id = m.user_id AND {_holds("s")})))"""

#: The condition on a row of ``workflow_step_approvals``; its one place is the user's id.
MAY_DECIDE = f"""EXISTS (SELECT 1 {_MEMBER}
    AND ({_is_named("m")} OR EXISTS (SELECT 1 FROM {_DELEGATORS})))"""

#: The same as a value: by which right, ``OWN`` or ``DELEGATED``; null for none.
RIGHT = f"""(SELECT CASE WHEN {_is_named("m")} THEN {OWN}
    WHEN EXISTS (SELECT 1 FROM {_DELEGATORS}) THEN {DELEGATED} END {_MEMBER})"""


def can_decide(user: User, approval: WorkflowStepApproval) -> Eligibility:
    """Tell whether ``user`` has the right to decide on ``approval``, whatever its status."""
    asked = WorkflowStepApproval.objects.filter(may_decide(user), id=approval.id)
    if asked.exists():
        return Eligibility(allowed=True)
    return explain_refusal(user, approval)


def explain_refusal(user: User, approval: WorkflowStepApproval) -> Eligibility:
    """Say why ``user``, who has no right to decide on ``approval``, has none."""
    member = Membership.objects.filter(user=user, workspace_id=approval.workspace_id).first()
    if member is None or Role(member.role).rank < Role.APPROVER.rank:
        return Eligibility(
            False, "not_an_approver", "Deciding needs the role approver or a higher one."
        )
    if approval.prevent_self_approval and approval.requested_by_id == user.pk:
        return Eligibility(
            False, "self_approval", "You started this run, so you cannot decide on it."
        )
    if approval.prevent_self_approval and _stands_in_for_requester(user, approval):
        requester = approval.requested_by
        name = requester and (requester.get_full_name() or requester.username)
        return Eligibility(
            False,
            "self_approval",
            f"You stand in for {name}, who started this run, so you cannot decide on it.",
        )
    names = ", ".join(map(str, approval.required_approvers))
    return Eligibility(False, "not_an_approver", f"Only {names} may decide on this.")


def _stands_in_for_requester(user: User, approval: WorkflowStepApproval) -> bool:
    rows = select(
        "SELECT 1 FROM workflow_step_approvals JOIN approvals_delegation s"
        " ON s.delegator_id = workflow_step_approvals.requested_by_id"
        f" WHERE workflow_step_approvals.id = %s AND s.delegate_id = %s AND {_holds('s')}",
        approval.id, user.pk,
    )  # fmt: skip
    return bool(rows)


def delegators_of(user_id: int, approval_ids: Iterable[UUID]) -> dict[UUID, list[int]]:
    """Return for each request in whose place ``user_id`` may decide on it now, by their ids."""
    rows = select(
        "SELECT DISTINCT workflow_step_approvals.id, d.delegator_id"
        f" FROM workflow_step_approvals, workflows_membership m, {_DELEGATORS}"
        " AND m.workspace_id = workflow_step_approvals.workspace_id AND m.user_id = %s"
        " AND workflow_step_approvals.id = ANY(%s) ORDER BY d.delegator_id",
        user_id, list(approval_ids),
    )  # fmt: skip
    found: dict[UUID, list[int]] = {}
    for approval_id, delegator_id in rows:
        found.setdefault(as_uuid(approval_id), []).append(delegator_id)
    return found


def entries_of(
    user_ids: Iterable[int], approval_ids: Iterable[UUID]
) -> dict[tuple[UUID, int], list[Entry]]:
    """Return the approvers of requests whose place each of these members could take now."""
    rows = select(
        "SELECT a.id, m.user_id, n.name, n.is_escalation FROM workflow_step_approvals a"
        " JOIN approvals_approvalapprover n ON n.approval_id = a.id"
        f" JOIN workflows_membership m ON m.workspace_id = a.workspace_id AND {_takes('m')}"
        " WHERE a.id = ANY(%s) AND m.user_id IN (SELECT u.id FROM workflows_user u"
        f" WHERE u.is_active AND u.id = ANY(%s)) AND m.role IN ({_DECIDING}) ORDER BY n.id",
        list(approval_ids), list(user_ids),
    )  # fmt: skip
    found: dict[tuple[UUID, int], list[Entry]] = {}
    for approval_id, user_id, name, is_escalation in rows:
        entry = Entry(name, bool(is_escalation))
        found.setdefault((as_uuid(approval_id), user_id), []).append(entry)
    return found


def deciders_of(approval_id: UUID, at_most: int) -> list[int]:
    """Return the ids of those who may decide on a request now, members of long standing first."""
    right = MAY_DECIDE.replace("%s", "c.user_id")
    rows = select(
        "SELECT c.user_id FROM workflow_step_approvals JOIN workflows_membership c"
        " ON c.workspace_id = workflow_step_approvals.workspace_id"
        f" WHERE workflow_step_approvals.id = %s AND c.role IN ({_DECIDING}) AND {right}"
        " ORDER BY c.id LIMIT %s",
        approval_id, at_most,
    )  # fmt: skip
    return [user_id for (user_id,) in rows]
