"""Who keeps a socket: rights are looked at again while it is open."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db.models import Q
from django.db.models.functions import Now

from workflows.models import ApiToken, Membership, User


class CloseCode(IntEnum):
    """Why the server closes a socket."""

    TOO_LARGE = 1009
    TRY_AGAIN = 1013
    BAD_REQUEST = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404


class Refused(Exception):
    """The socket is not opened, or not kept."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whom a socket belongs to, and by what: a token, or a session with its hash."""

    user_id: int
    workspace_id: UUID
    token_id: UUID | None = None
    session_key: str = ""
    session_hash: str = ""


def refusals(visitors: Collection[Visitor]) -> dict[Visitor, Refused]:
    """Return those who have lost their right to listen, and why: three queries for all."""
    members = _members({visitor.user_id for visitor in visitors})
    tokens = _valid_tokens(v.token_id for v in visitors if v.token_id)
    sessions = _valid_sessions(v.session_key for v in visitors if v.session_key)
    refused = {}
    for visitor in visitors:
        user = members.get((visitor.user_id, visitor.workspace_id))
        if user is None:
            refused[visitor] = Refused(CloseCode.FORBIDDEN, "You are no member any more")
        elif visitor.token_id:
            if visitor.token_id not in tokens:
                refused[visitor] = Refused(CloseCode.UNAUTHENTICATED, "The token has ended")
        elif (
            visitor.session_key not in sessions
            or visitor.session_hash != user.get_session_auth_hash()
        ):
            refused[visitor] = Refused(CloseCode.UNAUTHENTICATED, "You have signed out")
    return refused


def _members(user_ids: Collection[int]) -> dict[tuple[int, UUID], User]:
    memberships = Membership.objects.filter(user_id__in=user_ids, user__is_active=True)
    return {
        (membership.user_id, membership.workspace_id): membership.user
        for membership in memberships.select_related("user")
    }


def _valid_tokens(ids: Iterable[UUID]) -> set[UUID]:
    if not (wanted := set(ids)):
        return set()
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
    valid = ApiToken.objects.filter(unexpired, id__in=wanted, revoked_at__isnull=True)
    return set(valid.values_list("id", flat=True))


def _valid_sessions(keys: Iterable[str]) -> set[str]:
    if not (wanted := set(keys)):
        return set()
    valid = Session.objects.filter(session_key__in=wanted, expire_date__gt=Now())
    return set(valid.values_list("session_key", flat=True))
