"""A high risk is decided only by somebody who has shown lately who they are.

The session keeps when that was. Where it is too long ago, the page asks for the password again, and
the API refuses the session (``reauthentication_required``). Tokens are exempt: they never sign in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest

from approvals.models import Door, Risk, WorkflowStepApproval
from approvals.services.decisions import Decision, DecisionResult, decide_many
from workflows.errors import MgxError, NotPermitted
from workflows.models import User

RECENT_SECONDS: Final = 15 * 60
_KEY: Final = "signed_in_at"


def remember_sign_in(request: HttpRequest | None, **signal: Any) -> None:
    """Keep in the session that its owner has just shown who they are (``user_logged_in``)."""
    if request is not None and hasattr(request, "session"):
        request.session[_KEY] = time.time()


def must_sign_in(request: HttpRequest, approval: WorkflowStepApproval) -> bool:
    """Tell whether the session is too old for a decision on ``approval``."""
    signed_in_at = request.session.get(_KEY, 0.0)
    is_recent = time.time() - signed_in_at < RECENT_SECONDS
    return approval.risk == Risk.HIGH and not is_recent


def require_recent_sign_in(request: HttpRequest, approval: WorkflowStepApproval) -> None:
    """Raise NotPermitted ``reauthentication_required`` if the session is too old for it."""
    if must_sign_in(request, approval):
        raise NotPermitted(
            "The risk is high, and you signed in more than 15 minutes ago. Enter your password on"
            " the request’s own page.",
            code="reauthentication_required",
        )


def decide_in_session(
    request: HttpRequest, decisions: Sequence[Decision], *, door: Door
) -> list[DecisionResult | MgxError]:
    """Decide as ``decide_many`` does for the owner of the session, which may be too old for some.

    Those are refused with ``reauthentication_required``.
    """
    user = request.user
    assert isinstance(user, User)
    risky = WorkflowStepApproval.objects.visible_to(user).filter(
        pk__in=[decision.approval_id for decision in decisions], risk=Risk.HIGH
    )
    refused: dict[UUID, MgxError] = {}
    for approval in risky.only("risk"):
        try:
            require_recent_sign_in(request, approval)
        except NotPermitted as refusal:
            refused[approval.pk] = refusal
    admitted = [decision for decision in decisions if decision.approval_id not in refused]
    taken = iter(decide_many(admitted, user=user, door=door))
    return [refused.get(decision.approval_id) or next(taken) for decision in decisions]


def sign_in_again(request: HttpRequest, password: str) -> None:
    """Check the password of whoever is signed in; a wrong one counts like one at the sign-in.

    Raises NotPermitted ``wrong_password``.
    """
    assert request.user.is_authenticated
    user = authenticate(request, username=request.user.get_username(), password=password)
    if user is None or user.pk != request.user.pk:
        raise NotPermitted("This is not your password.", code="wrong_password")
    # The session goes on under its key, or the reader's other tabs would lose their sockets.
    user_logged_in.send(sender=type(user), request=request, user=user)
