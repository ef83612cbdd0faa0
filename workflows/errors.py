"""What the verbs of this project refuse, as one tree; ``mgx/errors.py`` maps it to HTTP.

``code`` is stable and for programs, the message is for people and says the way out.
"""

from typing import Any

from workflows.core.errors import Problem


class MgxError(Exception):
    """A request that cannot be met, through the fault of nobody but the request."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        #: What a client may want to know besides: the current state, the winner, the time.
        self.facts = facts


class NotVisible(MgxError):
    """It does not exist, or belongs to a workspace that the user is no member of."""

    code = "not_found"


class NotPermitted(MgxError):
    """It is visible, but the user may not do this."""

    code = "permission_denied"


class Conflict(MgxError):
    """Its state does not allow this any more: somebody was first, or it has ended."""

    code = "conflict"


class StaleRevision(MgxError):
    """It was changed since the client read it."""

    code = "stale_revision"


class InvalidInput(MgxError):
    """What was sent is wrong; ``problems`` says where, with a JSON pointer each."""

    code = "invalid"

    def __init__(
        self, message: str, problems: list[Problem] | None = None, *, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.problems = problems or []
