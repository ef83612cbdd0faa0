"""Taking a decision back: a vote while the request waits, a final one until its step goes on."""

from uuid import UUID

from approvals.models import Door, WorkflowStepApproval
from workflows.models import User


def can_retract(approval: WorkflowStepApproval, user: User) -> bool:
    """Tell whether ``user`` has a decision on ``approval`` that can be taken back now."""
    return False


def retract(approval_id: UUID, *, user: User, door: Door) -> WorkflowStepApproval:
    """Take back what ``user`` decided; return the request that is open then.

    A vote is withdrawn and its request goes on waiting. A final decision stays on record with its
    retraction, and a child request asks the same again.

    Raises NotVisible, and Conflict: ``nothing_to_retract``, or ``already_continued`` once the
    step behind the decision has gone on.
    """
    raise NotImplementedError
