"""Who calls: a bearer token, or the session of a signed-in person."""

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.exceptions import PermissionDenied as DRFPermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from workflows.api.errors import CsrfFailed
from workflows.errors import NotPermitted
from workflows.models import ApiToken
from workflows.services.access import find_token


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer mgx_…``. A call that sends one is judged by it alone."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiToken] | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = find_token(secret.strip())
        if token is None:
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="mgx"'


class SessionAuthentication(DRFSessionAuthentication):
    """The session's cookie, with CSRF protection. Anonymous calls are 401, not 403."""

    def enforce_csrf(self, request: Any) -> None:
        try:
            super().enforce_csrf(request)
        except (PermissionDenied, DRFPermissionDenied):
            raise CsrfFailed(
                "Send the CSRF cookie's value as X-CSRFToken, from an allowed origin."
            ) from None

    def authenticate_header(self, request: Request) -> str:
        return "Session"


class HasScope(BasePermission):
    """A token does what its scopes allow: reading, writing, deciding. A session may all three.

    Reading is GET; everything else is writing, unless the view's ``scopes`` says otherwise.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiToken):
            return True
        method = str(request.method)
        usual = "read" if method in SAFE_METHODS else "write"
        needed = getattr(view, "scopes", {}).get(method, usual)
        if needed not in request.auth.scopes:
            raise NotPermitted(
                f"This token has no scope '{needed}'.", code="insufficient_scope", scope=needed
            )
        return True


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema names the token."""

    target_class = "workflows.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "mgx_…"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema names the session."""

    target_class = "workflows.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
