"""What a token may do."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from workflows.errors import NotPermitted
from workflows.models import ApiToken


class HasScope(BasePermission):
    """A token does what its scopes allow: reading, writing, deciding. A session may all three.

    Reading is GET; everything else is writing, unless the view's ``scopes`` says otherwise.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
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
