"""What is checked of a gate when its definition is saved, besides the shapes of its fields."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from workflows.core.approval import ON_REJECT, ON_TIMEOUT, Approval, Policy
from workflows.core.graph import Graph
from workflows.core.steps import ApprovalStep

Where = tuple[str | int, ...]


class Finding(NamedTuple):
    """Something wrong: where in `config.approval`, the error's type, and a sentence."""

    where: Where
    kind: str
    message: str


def people_named(approval: Approval) -> Iterator[tuple[Where, str]]:
    """Yield every name of somebody who may decide, and where it stands in `config.approval`."""
    for position, name in enumerate(approval.required_approvers):
        yield ("required_approvers", position), name
    if approval.policy is not None:
        yield from _names_of(approval.policy, ("policy",))
    for position, name in enumerate(approval.escalate_to):
        yield ("escalate_to", position), name


def problems_of_gate(
    step: ApprovalStep,
    needs: Mapping[str, tuple[str, ...]],
    blocks: Mapping[str, str],
    graphs: Mapping[str, Graph],
    unread: AbstractSet[str | int] = frozenset(),
) -> Iterator[Finding]:
    """Yield what is wrong with a gate; of one without a name, not what others say of its place.

    Args:
        needs: what each step of the definition depends on.
        blocks: the block that each of them stands in.
        graphs: the order of the steps of each block, as far as it is known.
        unread: fields of `config.approval` that say nothing; what is about them is not checked.
    """
    yield from _problems_of_branches(step, needs)
    yield from _problems_of_revise(step, blocks, graphs)
    for check, fields in _CHECKS:
        if unread.isdisjoint(fields):
            yield from check(step.config.approval)


def self_approvals(approval: Approval) -> Iterator[tuple[str, str]]:
    """Yield how a gate that names approvers approves itself: the field, and when."""
    if not approval.approvers:
        return
    if approval.auto_approve_after_seconds is not None:
        after = f"after {approval.auto_approve_after_seconds} s"
        yield "auto_approve_after_seconds", after
    if approval.on_timeout == "approve":
        yield "on_timeout", "when its time is up"


def _problems_of_branches(
    step: ApprovalStep, needs: Mapping[str, tuple[str, ...]]
) -> Iterator[Finding]:
    approval = step.config.approval
    for key, name, words in (
        ("on_reject", approval.on_reject, ON_REJECT),
        ("on_timeout", approval.on_timeout, ON_TIMEOUT),
    ):
        if name in words:
            continue
        if name in ON_TIMEOUT:
            message = f"{key} is fail, continue, or the name of a step; it cannot be {name}"
            yield Finding((key,), "invalid_choice", message)
        elif name not in needs:
            yield Finding((key,), "unknown_branch_step", f"There is no step '{name}'")
        elif step.name and step.name not in needs[name]:
            message = f"'{name}' is {key} of '{step.name}', so it has to depend on it"
            yield Finding((key,), "unknown_branch_step", message)


def _problems_of_revise(
    step: ApprovalStep, blocks: Mapping[str, str], graphs: Mapping[str, Graph]
) -> Iterator[Finding]:
    name = step.config.approval.revise
    if name is None:
        return
    graph = graphs.get(blocks.get(step.name, ""))
    if name not in blocks:
        yield Finding(("revise",), "unknown_step", f"There is no step '{name}'")
    elif not step.name:
        return  # What it waits for is not known by a name.
    elif blocks[name] != blocks.get(step.name):
        message = f"'{name}' stands in another block than '{step.name}', and cannot be done anew"
        yield Finding(("revise",), "not_an_ancestor", message)
    elif graph is None or step.name not in graph:
        return  # What it waits for is wrong, and told.
    elif name not in graph or not graph.is_ancestor(name, step.name):
        message = f"'{name}' does not come before '{step.name}', which cannot send work back to it"
        yield Finding(("revise",), "not_an_ancestor", message)


def _problems_of_quorum(approval: Approval) -> Iterator[Finding]:
    needed, names = approval.min_approvals, approval.required_approvers
    if needed == "all":
        if not names and approval.policy is None:
            message = "'all' are those in required_approvers, and there is nobody"
            yield Finding(("min_approvals",), "quorum_exceeds_approvers", message)
        return
    if names and needed > _most_people(names):
        message = f"{needed} must approve, and only {_most_people(names)} are named"
        yield Finding(("min_approvals",), "quorum_exceeds_approvers", message)


def _problems_of_rule(approval: Approval) -> Iterator[Finding]:
    has_names = bool(approval.required_approvers) or approval.min_approvals != 1
    if approval.policy is not None and has_names:
        message = "A policy takes the place of required_approvers and min_approvals"
        yield Finding(("policy",), "invalid_choice", message)


def _problems_of_policy(approval: Approval) -> Iterator[Finding]:
    if approval.policy is not None:
        yield from _problems_in_policy(approval.policy, ("policy",))


def _problems_in_policy(policy: Policy, where: Where) -> Iterator[Finding]:
    """Yield where a policy wants more people than it names."""
    names = [entry for entry in policy.entries if isinstance(entry, str)]
    others = len(policy.entries) - len(names)
    if policy.needed > min(len(policy.entries), _most_people(names) + others):
        key = "n_of" if policy.n_of is not None else _key_of(policy)
        message = f"{policy.needed} must approve, and a name stands here twice"
        if policy.needed > len(policy.entries):
            message = f"{policy.needed} of {len(policy.entries)} cannot approve"
        yield Finding((*where, key), "quorum_exceeds_approvers", message)
    for position, entry in enumerate(policy.entries):
        if isinstance(entry, Policy):
            yield from _problems_in_policy(entry, (*where, _key_of(policy), position))
    if where == ("policy",):
        needed = Counter(name for name in _always_needed(policy) if not _is_many(name))
        twice = [name for name, count in needed.items() if count > 1]
        if twice and not policy.needed > _most_people(names) + others:
            message = f"'{twice[0]}' would have to approve twice"
            yield Finding(where, "quorum_exceeds_approvers", message)


def _late_approval(approval: Approval) -> Iterator[Finding]:
    after, end = approval.auto_approve_after_seconds, approval.expires_after_seconds
    if after is not None and after >= end:
        message = f"Auto-approval (after {after} s) must come before the expiry (after {end} s)"
        yield Finding(("auto_approve_after_seconds",), "auto_approve_after_expiry", message)


def _late_reminders(approval: Approval) -> Iterator[Finding]:
    end = approval.expires_after_seconds
    for position, seconds in enumerate(approval.reminders):
        if seconds >= end:
            message = f"A reminder after {seconds} s comes after the expiry ({end} s)"
            yield Finding(("reminders", position), "reminder_after_expiry", message)


def _late_escalation(approval: Approval) -> Iterator[Finding]:
    after, end = approval.escalate_after_seconds, approval.expires_after_seconds
    if after is not None and after >= end:
        message = f"The escalation (after {after} s) must come before the expiry (after {end} s)"
        yield Finding(("escalate_after_seconds",), "escalation_after_expiry", message)


def _problems_of_escalation(approval: Approval) -> Iterator[Finding]:
    after = approval.escalate_after_seconds
    escalates = after is not None or approval.on_timeout == "escalate"
    if escalates and not approval.escalate_to:
        yield Finding(("escalate_to",), "missing", "An escalation needs somebody in escalate_to")
    elif approval.escalate_to and not escalates:
        message = "escalate_to needs escalate_after_seconds, or on_timeout: escalate"
        yield Finding(("escalate_to",), "not_supported", message)


#: The checks of what a gate says in itself, each with the fields that it reads.
_CHECKS: Final[Sequence[tuple[Callable[[Approval], Iterator[Finding]], Sequence[str]]]] = (
    (_problems_of_quorum, ("required_approvers", "min_approvals", "policy")),
    (_problems_of_policy, ("policy",)),
    (_problems_of_rule, ("required_approvers", "min_approvals", "policy")),
    (_late_approval, ("auto_approve_after_seconds", "expires_after_seconds")),
    (_late_reminders, ("reminders", "expires_after_seconds")),
    (_late_escalation, ("escalate_after_seconds", "expires_after_seconds")),
    (_problems_of_escalation, ("escalate_after_seconds", "escalate_to", "on_timeout")),
)


def _names_of(policy: Policy, where: Where) -> Iterator[tuple[Where, str]]:
    for position, entry in enumerate(policy.entries):
        here = (*where, _key_of(policy), position)
        if isinstance(entry, str):
            yield here, entry
        else:
            yield from _names_of(entry, here)


def _key_of(policy: Policy) -> str:
    return "all_of" if policy.all_of else "any_of" if policy.any_of else "of"


def _always_needed(policy: Policy) -> Iterator[str]:
    """Yield the names without which a policy is never met, as often as it wants them."""
    if policy.needed < len(policy.entries):
        return
    for entry in policy.entries:
        if isinstance(entry, str):
            yield entry
        else:
            yield from _always_needed(entry)


def _most_people(names: tuple[str, ...] | list[str]) -> float:
    """Return how many people the names can stand for; a group or a role, for any number."""
    return float("inf") if any(map(_is_many, names)) else len(set(names))


def _is_many(name: str) -> bool:
    return name.startswith(("group:", "role:"))
