"""Who may open a socket, and what they want to follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie
from django.http.request import split_domain_port, validate_host

from workflows.live.rights import CloseCode, Refused, Visitor
from workflows.models import User, Workspace
from workflows.services.access import find_token

#: A browser cannot set headers: it may offer its token as a subprotocol of the form
#: ``bearer.TOKEN``, next to this one, which the server then chooses.
SUBPROTOCOL = "mgx.events"
_TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105  (the word before a token)
_LARGEST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for when it opens a socket."""

    visitor: Visitor
    after: int | None


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether the page that opens the socket is one of ours.

    A request that carries a bearer token proves itself and needs no origin; for one that relies
    on the session's cookie a missing origin is a foreign one.
    """
    if _bearer(headers):
        return True
    host = headers.get("host", "")
    domain, _ = split_domain_port(host)
    origin = headers.get("origin", "")
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    return urlsplit(origin).netloc.lower() == host.lower() or origin in (
        settings.CSRF_TRUSTED_ORIGINS
    )


def admit(headers: Mapping[str, str], query_string: bytes) -> Request:
    """Return who opens a socket and what they want to follow.

    Raises Refused where nobody valid does, or not a member of the workspace.
    """
    query = parse_qs(query_string.decode("latin-1"))
    after = _sequence(query.get("after", [""])[-1])
    if secret := _bearer(headers):
        user, credential = _by_token(secret)
    else:
        user, credential = _by_session(headers)
    workspace = _workspace(user, query.get("workspace", [""])[-1])
    return Request(Visitor(user.pk, workspace.pk, **credential), after)


def _sequence(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _LARGEST_SEQ:
        raise Refused(CloseCode.BAD_REQUEST, "after is a sequence number")
    return int(text)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip() or "-"
    for offered in headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(_TOKEN_SUBPROTOCOL):
            return offered.strip().removeprefix(_TOKEN_SUBPROTOCOL)
    return ""


def _by_token(secret: str) -> tuple[User, dict[str, Any]]:
    token = find_token(secret)
    if token is None:
        raise Refused(CloseCode.UNAUTHENTICATED, "The token is not valid")
    if "read" not in token.scopes:
        raise Refused(CloseCode.FORBIDDEN, "The token lacks the scope read")
    return token.user, {"token_id": token.pk}


def _by_session(headers: Mapping[str, str]) -> tuple[User, dict[str, Any]]:
    request = HttpRequest()
    key = parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME, "")
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request) if key.isalnum() and key.isascii() else None
    if not isinstance(user, User) or not user.is_active:
        raise Refused(CloseCode.UNAUTHENTICATED, "Sign in first")
    return user, {"session_key": key, "session_hash": user.get_session_auth_hash()}


def _workspace(user: User, slug: str) -> Workspace:
    visible = Workspace.objects.visible_to(user).order_by("name", "id")
    if slug:
        visible = visible.filter(slug=slug) if slug.isprintable() else visible.none()
    workspace: Workspace | None = visible.first()
    if workspace is None:
        raise Refused(CloseCode.FORBIDDEN, "There is no such workspace, or you are no member of it")
    return workspace
