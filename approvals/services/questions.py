"""Questions to whoever asked: nothing is decided, and the clock stands still until the answer."""

from uuid import UUID

from asgiref.sync import sync_to_async

from approvals.models import ApprovalQuestion
from workflows.models import User


def ask(approval_id: UUID, *, user: User, body: str) -> ApprovalQuestion:
    """Ask something about a request, and stop its clock.

    Raises NotVisible, NotPermitted unless ``user`` may decide on it, InvalidInput for a bad text,
    and Conflict ``already_decided``, ``expired`` or ``execution_ended``.
    """
    raise NotImplementedError


def answer(question_id: UUID, *, user: User, body: str) -> ApprovalQuestion:
    """Answer a question; with the last open one answered, the clock goes on where it stood.

    Raises NotVisible, NotPermitted unless ``user`` asked for the decision or is an operator,
    InvalidInput for a bad text, and Conflict ``already_answered`` or ``already_decided``.
    """
    raise NotImplementedError


aask = sync_to_async(ask)
aanswer = sync_to_async(answer)
