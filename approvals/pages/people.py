"""Who decides on a request, who already did, and who cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from approvals.models import ApprovalApprover, ApprovalDecision, WorkflowStepApproval
from workflows.models import Role, User

_NAMED_AT_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Person:
    """One line of those who decide.

    Attributes:
        status: `pending`, a decision's outcome, or `cannot`.
        note: by which right, or why not.
        full_name: whose initials stand for them.
    """

    name: str
    note: str
    status: str
    full_name: str


def who_decides(
    approval: WorkflowStepApproval, reader: User, decisions: Iterable[ApprovalDecision]
) -> list[Person]:
    """List those who decided, those who may, and who asked but may not.

    `approval.approvers` with their users and groups, and `requested_by`, should be loaded.
    """
    decided = {decision.user_id: decision for decision in decisions}
    people = [
        Person(_you_or(each.user, reader), _door(each), each.outcome, _name(each.user))
        for each in decided.values()
        if each.outcome != "timeout"
    ]
    status = "pending" if approval.status == "pending" else "closed"
    requester = approval.requested_by
    is_own = approval.prevent_self_approval
    for each in approval.approvers.all():
        if each.user_id and (each.user_id in decided or (is_own and each.user == requester)):
            continue
        who = _whom(each, reader)
        people.append(Person(who, _right(each), status, _name(each.user) if each.user else who))
    if not approval.required_approvers and status == "pending":
        note = "Every member with the role approver or above"
        people.append(Person("Any approver", note, status, "Any approver"))
    if is_own and requester is not None and requester.pk not in decided:
        note = "Started this, and so cannot decide on it"
        people.append(Person(_you_or(requester, reader), note, "cannot", _name(requester)))
    return people


def say_needed(approval: WorkflowStepApproval, reader: User) -> str:
    """Who is still needed, for one column of a list: `You or Tom Berger`."""
    names = [_whom(each, reader) for each in approval.approvers.all()]
    if not names:
        return "Nobody who is left" if approval.required_approvers else "Any approver"
    names.sort(key=lambda name: name != "You")
    shown = names[:_NAMED_AT_MOST]
    if len(names) > len(shown):
        return f"{', '.join(shown)} or {len(names) - len(shown)} more"
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _whom(approver: ApprovalApprover, reader: User) -> str:
    if approver.user is not None:
        return _you_or(approver.user, reader)
    if approver.group is not None:
        return f"Group {approver.group.name}"
    return f"Any {Role(approver.role).label.lower()}"


def _right(approver: ApprovalApprover) -> str:
    if approver.user is not None:
        return f"Named approver, {approver.user.get_username()}"
    if approver.group is not None:
        return "Each of its members in this workspace"
    return "Each member with this role or one above it"


def _door(decision: ApprovalDecision) -> str:
    if decision.user is None:
        return "By itself, as the request says"
    doors = {"page": "on this page", "api": "through the API", "admin": "in the admin"}
    return f"{decision.user.get_username()}, {doors.get(decision.door, decision.door)}"


def _you_or(user: User | None, reader: User) -> str:
    return "You" if user is not None and user.pk == reader.pk else _name(user)


def _name(user: User | None) -> str:
    if user is None:
        return "MGX"
    return user.get_full_name() or user.get_username()
