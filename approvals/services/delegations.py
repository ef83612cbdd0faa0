"""Delegation: who may decide what another may, for one request or for a time.

A delegate decides by the delegator's own right, which is asked for at the decision
(``approvals/rights.py``): it ends with the delegator's, and cannot be handed on.
"""

from datetime import datetime
from uuid import UUID

from asgiref.sync import sync_to_async

from approvals.models import Delegation
from workflows.models import User, Workspace


def delegate(approval_id: UUID, *, to: str, user: User, reason: str = "") -> Delegation:
    """Let ``to``, a member's username, decide on a request what ``user`` may decide themselves.

    Doing it again changes nothing.

    Raises:
        NotVisible: no such request.
        NotPermitted: ``not_an_approver``, ``self_approval``: ``user`` has no right of their own.
        InvalidInput: ``unknown_member``, ``not_an_approver``, ``to_yourself``, ``self_approval``.
        Conflict: ``already_decided``, ``expired``.
    """
    raise NotImplementedError


def delegate_all(
    workspace: Workspace,
    *,
    to: str,
    user: User,
    starts_at: datetime | None,
    ends_at: datetime,
    reason: str = "",
) -> Delegation:
    """Let ``to``, a member's username, decide whatever ``user`` may, from start to end.

    Without ``starts_at`` from now on. Raises NotVisible, NotPermitted (role approver), and
    InvalidInput with everything wrong.
    """
    raise NotImplementedError


def revoke_delegation(delegation_id: UUID, *, user: User) -> Delegation:
    """End a delegation at once; doing it again changes nothing.

    Raises NotVisible, and NotPermitted unless ``user`` gave it or is an admin.
    """
    raise NotImplementedError


adelegate = sync_to_async(delegate)
