"""Standing grants: an approval given ahead for requests that match, so many times, until an end.

A grant is a vote of the one who gave it, cast as the request opens: if they have the right to
decide on it at that moment, and by the rule that counts every other vote.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from approvals.models import StandingGrant, WorkflowStepApproval
from workflows.events import EventDraft
from workflows.models import User, Workflow


class Opened(NamedTuple):
    """A request that has just been opened, and the step of which workflow it is."""

    approval: WorkflowStepApproval
    workflow_id: UUID
    step_name: str


def give_grant(
    workflow: Workflow,
    *,
    user: User,
    max_uses: int,
    expires_at: datetime,
    step_name: str = "",
    predicate: str = "",
    note: str = "",
) -> StandingGrant:
    """Approve ahead what a workflow, or one step of it, will ask and ``predicate`` holds of.

    Raises NotVisible, NotPermitted (role approver, or ``grants_forbidden`` here), and
    InvalidInput with everything wrong.
    """
    raise NotImplementedError


def revoke_grant(grant_id: UUID, *, user: User) -> StandingGrant:
    """End a grant at once; what it approved stays. Doing it again changes nothing.

    Raises NotVisible, and NotPermitted unless ``user`` gave it or is an admin.
    """
    raise NotImplementedError


def apply_grants(opened: Sequence[Opened], now: datetime) -> list[EventDraft]:
    """Cast the votes that were given ahead for requests just opened; return their events.

    Call it in the transaction that opened them. A predicate that cannot be evaluated does not
    match, and an event of the request says so.
    """
    raise NotImplementedError
