"""Who calls: a bearer token, or the session of a signed-in person."""

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.exceptions import PermissionDenied as DRFPermissionDenied
from rest_framework.request import Request

from workflows.api.errors import CsrfFailed
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
