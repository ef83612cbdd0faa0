"""How the schema tells what every operation shares: its errors, and how to repeat it."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter

_ERRORS = {
    "400": "What was sent is not valid; `errors` says where",
    "401": "Nobody is signed in, or the token is not valid",
    "403": "The role or the token's scope does not allow it",
    "404": "It does not exist, or not for the caller",
    "409": "Its state does not allow it any more; the current state is told",
    "412": "It was changed since the client read it",
    "413": "The body is too long",
    "415": "The body is compressed, or of another type",
    "422": "The Idempotency-Key belongs to another request",
    "429": "Too many calls; `Retry-After` says when to go on",
    "500": "An error of the server; quote `request_id`",
    "503": "The database is away; `Retry-After` says when to try again",
}
_READING = ("400", "401", "403", "404", "429", "500", "503")
_WRITING = (*_READING, "409", "412", "413", "415", "422")

_PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457). Further members tell the current state.",
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people"},
        "code": {"type": "string", "description": "For programs; its meaning never changes"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message", "code"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
        "request_id": {"type": "string"},
    },
}


class ProblemSchema(AutoSchema):
    """Adds to every operation its problem responses and the Idempotency-Key where it takes one."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        component = ResolvedComponent(  # type: ignore[no-untyped-call]
            name="Problem", type=ResolvedComponent.SCHEMA, object="Problem", schema=_PROBLEM
        )
        self.registry.register_on_missing(component)
        for status in _READING if self.method == "GET" else _WRITING:
            operation["responses"].setdefault(
                status,
                {
                    "description": _ERRORS[status],
                    "content": {"application/problem+json": {"schema": component.ref}},
                },
            )
        return operation

    def _is_list_view(self, serializer: Any = None) -> bool:
        """What can be ordered is a list."""
        return self.method == "GET" and bool(getattr(self.view, "orderings", None))

    def get_override_parameters(self) -> list[Any]:
        parameters = list(super().get_override_parameters())
        method = getattr(self.view, self.method.lower(), None)
        if getattr(method, "is_idempotent", False):
            parameters.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    str,
                    OpenApiParameter.HEADER,
                    description="Repeats with the same key and body get the same answer",
                )
            )
        return parameters


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
