"""What one person says of one request, counted by its rule: a vote, or the end of the request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.models import ApprovalDecision, Door, StandingGrant, WorkflowStepApproval
from workflows.events import EventDraft
from workflows.models import User


@dataclass(slots=True)
class Ballot:
    """What ``user`` says of ``approval``, who has the right to. ``payload``: as they edited it."""

    approval: WorkflowStepApproval
    user: User
    outcome: str
    door: Door
    feedback: str = ""
    response_data: Any = None
    payload: Any = None
    grant: StandingGrant | None = None
    on_behalf_of_id: int | None = None


def cast(
    ballots: Sequence[Ballot], now: datetime
) -> tuple[list[ApprovalDecision], list[EventDraft]]:
    """Record ballots on pending requests; return the records and the events, in their order.

    The caller has locked the requests (their executions before them) and judged the right. A
    request whose rule is met, or that is rejected or sent back, ends: its object carries the
    outcome, its timers go, its execution wakes. A ballot on one that has ended by an earlier one
    of the same call is left out.
    """
    raise NotImplementedError
