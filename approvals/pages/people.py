"""Who decides on a request, who already did, who is still missing, and who cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q
from django.utils import timezone

from approvals.models import ApprovalApprover, ApprovalDecision, Delegation, WorkflowStepApproval
from approvals.pages.conversation import say_door
from approvals.tally import Tally, rule_of, tally
from workflows.models import Membership, Role, User

_NAMED_AT_MOST: Final = 3
_KINDS: Final = {"group:": "group ", "role:": "any "}


@dataclass(frozen=True, slots=True)
class Person:
    """One line of those who decide.

    Attributes:
        status: `pending`, a decision's outcome, `closed`, or `cannot`.
        note: by which right, or why not.
        full_name: whose initials stand for them.
        at: when they decided.
    """

    name: str
    note: str
    status: str
    full_name: str
    at: datetime | None = None


def who_decides(
    approval: WorkflowStepApproval,
    reader: User,
    decisions: Iterable[ApprovalDecision],
    count: Tally,
) -> list[Person]:
    """List those who decided, those who are missing, and those who are named but may not.

    `approval.approvers` with their users and groups, `requested_by`, and the users of `decisions`
    should be loaded.
    """
    final = [each for each in decisions if each.is_final and each.outcome != "timeout"]
    votes = {each.pk: each for each in [*count.votes, *final]}
    people = [_voter(each, reader) for each in votes.values()]
    voted = {user for each in votes.values() for user in (each.user_id, each.on_behalf_of_id)}
    refused = dict(_refused(approval, reader))
    if approval.status == "pending":
        people += _missing(approval, reader, count, voted | set(refused))
    people += [person for user, person in refused.items() if user not in voted]
    return people


def say_rule(approval: WorkflowStepApproval, reader: User) -> str:
    """Say how many, and who, must approve: `2 different people`, `all of Tom and group legal`."""
    rule = rule_of(approval)
    if rule.policy is None:
        return "one person" if rule.needed == 1 else f"{rule.needed} different people"
    known = {each.name: each for each in approval.approvers.all()}
    return _say_policy(rule.policy, known, reader)


def say_needed(approval: WorkflowStepApproval, reader: User, count: Tally | None = None) -> str:
    """Who is still needed, for one column of a list: `You or Tom Berger`.

    `count` is what `tally` says of the request, if that is known already.
    """
    approvers = list(approval.approvers.all())
    if not approvers:
        return "Nobody who is left" if approval.required_approvers else "Any approver"
    word = "or"
    if not rule_of(approval).is_one:
        count = count or tally(approval)
        approvers = [a for a in approvers if a.name in count.missing or a.is_escalation]
        word = "and" if len(approvers) == count.needed - count.given else "or"
    names = sorted((_whom(each, reader) for each in approvers), key=lambda name: name != "You")
    shown = names[:_NAMED_AT_MOST]
    if len(names) > len(shown):
        return f"{', '.join(shown)} {word} {len(names) - len(shown)} more"
    return f" {word} ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def say_questions(approval: WorkflowStepApproval, reader: User) -> str:
    """Say whose questions have no answer, and whose it is to give: `A question by Tom Berger waits
    for an answer from you or any operator`.

    The `approval.questions` with who asked them, and `requested_by`, should be loaded.
    """
    asked = [each.asked_by for each in approval.questions.all() if each.answered_at is None]
    by = " and ".join(dict.fromkeys(_say_user(user, reader) for user in asked))
    subject, verb = ("Questions", "wait") if len(asked) > 1 else ("A question", "waits")
    if by:
        subject += f" by {by}"
    answerer = approval.requested_by
    whom = f"{_say_user(answerer, reader)} or any operator" if answerer else "any operator"
    return f"{subject} {verb} for an answer from {whom}"


def _voter(decision: ApprovalDecision, reader: User) -> Person:
    by = "" if decision.user is None else f"{decision.user.get_username()}, "
    note = f"{by}{say_door(decision)}" if by else "By itself, as the request says"
    if decision.on_behalf_of is not None:
        note = f"In the place of {_name(decision.on_behalf_of)}. {note}"
    elif names := [name for name in decision.stands_for if name.startswith(tuple(_KINDS))]:
        note = f"As {_say_names(names)}. {note}"
    who = _you_or(decision.user, reader)
    return Person(who, note, decision.outcome, _name(decision.user), decision.decided_at)


def _missing(
    approval: WorkflowStepApproval, reader: User, count: Tally, others: set[int | None]
) -> Iterator[Person]:
    """Those whose approval is still wanted, each by the name in the rule."""
    if not approval.required_approvers:
        note = "Every member with the role approver or above"
        yield Person("Any approver", note, "pending", "Any approver")
        return
    delegates = _delegates(approval)
    for each in approval.approvers.all():
        is_wanted = each.name in count.missing or each.is_escalation or not each.name
        if not is_wanted or (each.user_id and each.user_id in others):
            continue
        note = _right(each)
        if each.is_escalation:
            note = f"{note}. Asked as nobody had decided"
        if each.user_id in delegates:
            note = f"{note}. {' or '.join(delegates[each.user_id])} can decide in their place"
        who = _whom(each, reader)
        yield Person(who, note, "pending", _name(each.user) if each.user else who)


def _refused(approval: WorkflowStepApproval, reader: User) -> Iterator[tuple[int, Person]]:
    """Who asked or is named, and may not decide all the same, with the reason."""
    requester = approval.requested_by
    if approval.prevent_self_approval and requester is not None:
        note = "Started this, and so cannot decide on it"
        who = _you_or(requester, reader)
        yield requester.pk, Person(who, note, "cannot", _name(requester))
    named = {each.user_id: each.user for each in approval.approvers.all() if each.user}
    roles = dict(
        Membership.objects.filter(
            workspace_id=approval.workspace_id, user__in=named, user__is_active=True
        ).values_list("user_id", "role")
    )
    for user_id, user in named.items():
        assert user_id is not None
        assert user is not None
        if user_id not in roles:
            note = "Named, but no active member of the workspace any more"
        elif Role(roles[user_id]).rank < Role.APPROVER.rank:
            note = f"Named, but is {roles[user_id]}: deciding needs the role approver"
        else:
            continue
        yield user_id, Person(_you_or(user, reader), note, "cannot", _name(user))


def _delegates(approval: WorkflowStepApproval) -> dict[int | None, list[str]]:
    """The names of those who can decide in the place of each of the named approvers."""
    named = [each.user_id for each in approval.approvers.all() if each.user_id]
    found: dict[int | None, list[str]] = {}
    if named:
        now = timezone.now()
        held = Delegation.objects.filter(
            Q(approval=approval) | Q(approval=None),
            Q(ends_at=None) | Q(ends_at__gt=now),
            workspace_id=approval.workspace_id,
            delegator__in=named,
            revoked_at=None,
            starts_at__lte=now,
        )
        for each in held.select_related("delegate"):
            found.setdefault(each.delegator_id, []).append(_name(each.delegate))
    return found


def _say_policy(
    policy: Mapping[str, Any], known: Mapping[str, ApprovalApprover], reader: User
) -> str:
    entries = policy.get("all_of") or policy.get("any_of") or policy.get("of") or ()
    parts = [
        _say_entry(each, known, reader)
        if isinstance(each, str)
        else f"({_say_policy(each, known, reader)})"
        for each in entries
    ]
    if len(parts) == 1:
        return parts[0]
    if policy.get("all_of"):
        return f"all of {', '.join(parts[:-1])} and {parts[-1]}"
    number = "one" if policy.get("any_of") else str(policy.get("n_of"))
    return f"{number} of {', '.join(parts[:-1])} or {parts[-1]}"


def _say_entry(name: str, known: Mapping[str, ApprovalApprover], reader: User) -> str:
    approver = known.get(name)
    if approver is not None and approver.user is not None:
        return _say_user(approver.user, reader)
    return _say_names([name])


def _say_user(user: User, reader: User) -> str:
    return "you" if user.pk == reader.pk else _name(user)


def _say_names(names: Iterable[str]) -> str:
    """Entries of approvers as words: `group:legal` is `group legal`."""
    return " and ".join(
        next(
            (
                f"{word}{name[len(kind) :]}"
                for kind, word in _KINDS.items()
                if name.startswith(kind)
            ),
            name,
        )
        for name in names
    )


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
        return "Each of its members with the role approver or above"
    return "Each member with this role or one above it"


def _you_or(user: User | None, reader: User) -> str:
    return "You" if user is not None and user.pk == reader.pk else _name(user)


def _name(user: User | None) -> str:
    if user is None:
        return "MGX"
    return user.get_full_name() or user.get_username()
