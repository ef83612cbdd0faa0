"""How far a request is decided: who has approved, and whose approval it still lacks."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from approvals.models import ApprovalDecision, Outcome, WorkflowStepApproval
from approvals.policy import Rule, Vote


@dataclass(frozen=True, slots=True)
class Tally:
    """``given`` of the ``needed`` approvals, the names still ``missing``, and the ``votes``.

    A vote that was taken back, or was for content that was edited since, is none.
    """

    given: int
    needed: int
    missing: list[str]
    votes: list[ApprovalDecision]


def tally(approval: WorkflowStepApproval) -> Tally:
    """Return how far ``approval`` is approved. Its ``decisions``, if prefetched, are not read anew.

    The votes come with ``user`` and ``on_behalf_of`` if the prefetch has them.
    """
    votes = [
        vote for vote in standing_votes(approval.decisions.all()) if vote.digest == approval.digest
    ]
    count = rule_of(approval).count([vote_of(vote) for vote in votes])
    return Tally(count.given, count.needed, list(count.missing), votes)


def rule_of(approval: WorkflowStepApproval) -> Rule:
    """Return who must approve a request."""
    return Rule.of(approval.required_approvers, approval.approval_metadata)


def vote_of(decision: ApprovalDecision) -> Vote:
    """Return a recorded vote as its rule counts it; that of the system is nobody's, number 0."""
    person = decision.user_id or 0
    return Vote(person, decision.on_behalf_of_id or person, frozenset(decision.stands_for))


def votes_on(approval_ids: Iterable[UUID]) -> dict[UUID, list[ApprovalDecision]]:
    """Return the approvals of requests that were not taken back, in their order."""
    decisions = ApprovalDecision.objects.filter(approval_id__in=approval_ids)
    found: dict[UUID, list[ApprovalDecision]] = {}
    for vote in standing_votes(decisions):
        found.setdefault(vote.approval_id, []).append(vote)
    return found


def standing_votes(decisions: Iterable[ApprovalDecision]) -> list[ApprovalDecision]:
    """Return the approvals among all the decisions on requests that were not taken back."""
    every = sorted(decisions, key=lambda decision: decision.record_number or 0)
    retracted = {decision.retracts_id for decision in every if decision.retracts_id}
    return [each for each in every if each.outcome == Outcome.APPROVED and each.id not in retracted]
