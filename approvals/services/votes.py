"""What one person says of one request, counted by its rule: a vote, or the end of the request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals.models import (
    ApprovalDecision,
    ApprovalStatus,
    Door,
    Outcome,
    StandingGrant,
    WorkflowStepApproval,
)
from approvals.policy import Count, Rule, Vote
from approvals.rights import Entry, delegators_of, entries_of
from approvals.services.chain import Heads, record_decisions
from approvals.services.records import (
    approval_event,
    decision_events,
    digest_of,
    forget_timers,
    wake_executions,
    write_edits,
    write_outcomes,
)
from approvals.tally import rule_of, vote_of, votes_on
from workflows.events import EventDraft, EventType
from workflows.models import User


@dataclass(slots=True)
class Ballot:
    """What ``user`` says of ``approval``, who has the right to. ``payload``: as they edited it.

    ``is_delegate``: they have the right only in the place of others.
    """

    approval: WorkflowStepApproval
    user: User
    outcome: str
    door: Door
    feedback: str = ""
    response_data: Any = None
    payload: Any = None
    grant: StandingGrant | None = None
    is_delegate: bool = False


def cast(
    ballots: Sequence[Ballot], now: datetime
) -> tuple[list[ApprovalDecision], list[EventDraft]]:
    """Record ballots on pending requests; return the records and the events, in their order.

    The caller has locked the requests (their executions before them) and judged the right. A
    request whose rule is met, or that is rejected or sent back, ends: its object carries the
    outcome, its timers go, its execution wakes. A ballot on one that has ended by an earlier one
    of the same call, or for a seat that has voted, is left out.
    """
    box = BallotBox(now)
    box.read([(ballot.approval, ballot.user.pk) for ballot in ballots])
    box.read_delegates([(b.approval, b.user.pk) for b in ballots if b.is_delegate])
    for ballot in ballots:
        if ballot.approval.status == ApprovalStatus.PENDING:
            box.add(ballot)
    return box.records, box.write()


class BallotBox:
    """Collects ballots on locked requests, counts them, and writes what came of them.

    Only requests whose rule wants more than one person cost a look at what others said.
    ``heads``: the chains of records, where they are locked already.
    """

    def __init__(self, now: datetime, heads: Heads | None = None) -> None:
        self.records: list[ApprovalDecision] = []
        self._now = now
        self._heads = heads
        self._votes: dict[UUID, list[ApprovalDecision]] = {}
        self._entries: dict[tuple[UUID, int], list[Entry]] = {}
        self._delegators: dict[tuple[UUID, int], list[int]] = {}
        self._counts: dict[UUID, Count] = {}
        self._edited: dict[UUID, WorkflowStepApproval] = {}

    def read(self, voters: Iterable[tuple[WorkflowStepApproval, int]]) -> None:
        """Read what was said before of requests, and whose place these users could take."""
        composed = [(a.id, user) for a, user in voters if not rule_of(a).is_one]
        if composed:
            ids = {approval_id for approval_id, _ in composed}
            self._votes |= votes_on(ids)
            self._entries |= entries_of({user for _, user in composed}, ids)

    def read_delegates(self, voters: Iterable[tuple[WorkflowStepApproval, int]]) -> None:
        """Read in whose place these users may decide who have no right of their own."""
        by_user: dict[int, list[WorkflowStepApproval]] = {}
        for approval, user in voters:
            by_user.setdefault(user, []).append(approval)
        for user, approvals in by_user.items():
            found = delegators_of(user, [approval.id for approval in approvals])
            self._delegators |= {(key, user): ids for key, ids in found.items()}
            ids = {each for ids in found.values() for each in ids}
            composed = [a.id for a in approvals if not rule_of(a).is_one]
            if ids and composed:
                self._entries |= entries_of(ids, composed)

    def has_vote_of(self, approval: WorkflowStepApproval, user: User) -> bool:
        """Tell whether ``user`` has approved the request as it is, and not taken it back."""
        return any(vote.user_id == user.pk for vote in self._live(approval))

    def delegators(self, approval: WorkflowStepApproval, user: User) -> list[int]:
        """Return in whose place ``user`` may decide, of those that were read."""
        return self._delegators.get((approval.id, user.pk), [])

    def add(self, ballot: Ballot) -> ApprovalDecision | None:
        """Count a ballot on a pending request; None if the seat that it is for has voted."""
        approval = ballot.approval
        rule = rule_of(approval)
        before = approval.approval_data, approval.digest
        if ballot.payload is not None:
            approval.approval_data = ballot.payload
            approval.digest = digest_of(approval)
        is_vote = ballot.outcome == Outcome.APPROVED and not rule.is_one
        vote, count = self._count(ballot, rule) if is_vote else (self._place(ballot), None)
        if vote is None:
            approval.approval_data, approval.digest = before
            return None
        if ballot.payload is not None:
            self._edited[approval.id] = approval
        record = self._record(ballot, vote, is_final=count is None or count.is_met)
        if count is not None:
            self._counts[record.id] = count
        if record.is_final:
            _end(approval, record)
        self._votes.setdefault(approval.id, []).append(record)
        self.records.append(record)
        return record

    def write(self) -> list[EventDraft]:
        """Write everything, and return the event of each record."""
        if not self.records:
            return []
        ended = [record.approval for record in self.records if record.is_final]
        pending = [a for a in self._edited.values() if a.status == ApprovalStatus.PENDING]
        write_edits(pending, self._now)
        write_outcomes(ended, self._edited)
        record_decisions(self.records, self._heads)
        forget_timers([approval.id for approval in ended])
        runs = [a.workflow_execution_id for a in ended if a.workflow_execution_id]
        wake_executions(runs, self._now)
        return [self._event(record) for record in self.records]

    def _live(self, approval: WorkflowStepApproval) -> list[ApprovalDecision]:
        """Return the votes for the request as it is now."""
        votes = self._votes.get(approval.id, ())
        return [vote for vote in votes if vote.digest == approval.digest]

    def _place(self, ballot: Ballot) -> Vote:
        """Return the vote of who needs no place of a rule."""
        user = ballot.user.pk
        seats = self.delegators(ballot.approval, ballot.user) if ballot.is_delegate else [user]
        return Vote(user, seats[0])

    def _count(self, ballot: Ballot, rule: Rule) -> tuple[Vote | None, Count | None]:
        """Return the vote that brings the rule farthest, and how far; None if there is none."""
        approval, user = ballot.approval, ballot.user.pk
        given = [vote_of(decision) for decision in self._live(approval)]
        taken = {vote.seat for vote in given}
        seats = self.delegators(approval, ballot.user) if ballot.is_delegate else [user]
        possible = [
            Vote(user, seat, self._names(approval, seat))
            for seat in seats
            if seat not in taken and user not in {vote.person for vote in given}
        ]
        counted = [(vote, rule.count([*given, vote])) for vote in possible]
        return max(counted, key=lambda pair: pair[1].given - pair[1].needed, default=(None, None))

    def _names(self, approval: WorkflowStepApproval, seat: int) -> frozenset[str]:
        """Return the names of the rule that a person can stand for; one of the circle that was
        added later, for any."""
        entries = self._entries.get((approval.id, seat), ())
        if any(entry.is_escalation for entry in entries):
            return frozenset(approval.required_approvers)
        return frozenset(entry.name for entry in entries)

    def _record(self, ballot: Ballot, vote: Vote, *, is_final: bool) -> ApprovalDecision:
        approval = ballot.approval
        return ApprovalDecision(
            approval=approval,
            user=ballot.user,
            on_behalf_of_id=None if vote.seat == vote.person else vote.seat,
            stands_for=sorted(vote.stands_for),
            grant=ballot.grant,
            outcome=ballot.outcome,
            comment=ballot.feedback,
            response_data=ballot.response_data,
            edited_data=ballot.payload,
            digest=approval.digest,
            revision=approval.revision,
            door=ballot.door,
            is_final=is_final,
            decided_at=self._now,
        )

    def _event(self, record: ApprovalDecision) -> EventDraft:
        approval = record.approval
        assert record.user is not None
        actor = f"user:{record.user.username}"
        count = self._counts.get(record.id)
        if record.is_final or count is None:
            event = decision_events([approval], actor=actor)[0]
        else:
            words = f"approved, {count.given} of {count.needed}"
            event = approval_event(approval, EventType.APPROVAL_COUNTED, words, actor=actor)
            event.data |= {"given": count.given, "needed": count.needed}
            event.data |= {"missing": list(count.missing)}
        if record.edited_data is not None:
            event.data |= {"is_edited": True, "digest": record.digest}
        if record.door == Door.GRANT:
            event.data["grant"] = str(record.grant_id)
        return event


def _end(approval: WorkflowStepApproval, record: ApprovalDecision) -> None:
    """Let the request carry the outcome of its final decision."""
    approval.status = record.outcome
    approval.approved_by = record.user
    approval.feedback = record.comment
    approval.response_data = record.response_data
    approval.responded_at = approval.updated_at = record.decided_at
