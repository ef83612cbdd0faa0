"""A high risk is decided only by somebody who has shown lately who they are.

The session keeps when that was. Where it is too long ago, the page asks for the password again, and
the API refuses the session (``reauthentication_required``). Tokens are exempt: they never sign in.
"""

from __future__ import annotations

import time
from typing import Any, Final

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest

from approvals.models import Risk, WorkflowStepApproval
from workflows.errors import NotPermitted

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
            "This is of high risk, and you signed in more than 15 minutes ago. Enter your password"
            " again.",
            code="reauthentication_required",
        )


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
