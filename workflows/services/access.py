"""Who may do what: roles in workspaces, and the tokens of the API."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from workflows.bulk import select_objects
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible
from workflows.models import ApiToken, Membership, Role, User, Workspace
from workflows.streams import open_stream

TOKEN_PREFIX = "mgx_"  # noqa: S105  (what a token begins with is no secret)
SCOPES = ("read", "write", "decide", "heartbeat")

#: How stale ``last_used_at`` may be: a token costs one write in this time, not one a call.
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


def require_role(user: Any, workspace_id: UUID, role: Role) -> Membership:
    """Return the membership by which ``user`` has ``role``, or one above it, in a workspace.

    Raises:
        NotVisible: the user is no active member of the workspace.
        NotPermitted: the user's role is too low.
    """
    found = select_objects(
        Membership,
        "WHERE workspace_id = %s AND user_id = %s AND EXISTS"
        " (SELECT 1 FROM workflows_user u WHERE u.id = user_id AND u.is_active)",
        workspace_id, user.pk,
    )  # fmt: skip
    if not found:
        raise NotVisible("There is no such workspace, or you are no member of it.")
    membership: Membership = found[0][0]
    if Role(membership.role).rank < role.rank:
        raise NotPermitted(
            f"This needs the role {role.value}; you are {membership.role} here.",
            required_role=role.value,
            role=membership.role,
        )
    return membership


def create_workspace(*, name: str, slug: str, admin: User | None = None) -> Workspace:
    """Make a workspace with its event stream, and ``admin`` its first member.

    Raises:
        Conflict: the slug is taken.
    """
    try:
        with transaction.atomic():
            workspace: Workspace = Workspace.objects.create(name=name, slug=slug)
            open_stream(workspace.pk)
            if admin is not None:
                Membership.objects.create(workspace=workspace, user=admin, role=Role.ADMIN)
    except IntegrityError:
        raise Conflict(f"A workspace '{slug}' exists already.", code="slug_taken") from None
    return workspace


def issue_token(
    user: User, *, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token for ``user``; return it and its secret, which is kept nowhere.

    Raises:
        InvalidInput: no or unknown scopes, a bad name, or an expiry that has passed.
    """
    wanted = set(scopes)
    problems = []
    if not wanted or not wanted <= set(SCOPES):
        problems.append(Problem("", "invalid_choice", f"One or more of {_listed()}", "/scopes"))
    if not name.strip() or len(name) > 100:
        problems.append(Problem("", "invalid_name", "1 to 100 characters", "/name"))
    if expires_at is not None and expires_at <= database_now():
        problems.append(Problem("", "in_the_past", "This moment has passed", "/expires_at"))
    if problems:
        raise InvalidInput("The token cannot be made.", problems)
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=secret[: len(TOKEN_PREFIX) + 6],
        digest=_digest(secret),
        scopes=[scope for scope in SCOPES if scope in wanted],
        expires_at=expires_at,
    )
    return token, secret


def find_token(secret: str) -> ApiToken | None:
    """Return the token with this secret, with its user, while both are valid; note its use."""
    if not secret.startswith(TOKEN_PREFIX) or len(secret) > 200:
        return None
    token = (
        ApiToken.objects.select_related("user")
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))
        .filter(digest=_digest(secret), revoked_at__isnull=True, user__is_active=True)
        .first()
    )
    if token is not None:
        _note_use(token)
    return token


def revoke_token(token: ApiToken) -> None:
    """End a token at once and for good; doing it again changes nothing."""
    ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=Now())
    token.refresh_from_db(fields=["revoked_at"])


def _note_use(token: ApiToken) -> None:
    before = timezone.now() - _USE_IS_NOTED_EVERY
    if token.last_used_at is None or token.last_used_at < before:
        ApiToken.objects.filter(pk=token.pk).filter(
            Q(last_used_at__isnull=True) | Q(last_used_at__lt=before)
        ).update(last_used_at=Now())


def _digest(secret: str) -> str:
    # The secret has 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(secret.encode()).hexdigest()


def _listed() -> str:
    return ", ".join(SCOPES)
