"""How a body is read: strictly, and never more of it than the limit."""

from typing import IO, Any, Final

from django.conf import settings
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from workflows.api.errors import BodyTooLarge, UnsupportedEncoding
from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError, Problem
from workflows.errors import InvalidInput
from workflows.services.definitions import definition_limits

#: Where whole definitions come in. As a file they are longer than as the body of a POST: with
#: defaults written out, broken into lines, or quoted once more; and PATCH adds to them.
_IMPORT: Final = "/api/v1/workflows/import/"


def most_bytes(path: str) -> int:
    """Return how long a body may be that is sent to an address."""
    if path == _IMPORT:
        return max(settings.MGX_MAX_BODY_BYTES, definition_limits().document_bytes)
    limit: int = settings.MGX_MAX_BODY_BYTES
    return limit


def admit_body(request: HttpRequest) -> None:
    """Refuse a body that is compressed or too long, before anything of it is understood.

    A body that does not tell its length is read up to the limit: DRF takes it for an empty one.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding("Compressed bodies are not accepted; send it as it is.")
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        if int(length) > most_bytes(request.path):
            raise too_large(request.path)
    elif request.method not in ("GET", "HEAD", "OPTIONS"):
        body = _read(request, request.path)
        request._body = body  # as Django itself keeps it
        request.META["CONTENT_LENGTH"] = str(len(body))


class StrictJSONParser(BaseParser):
    """JSON that every reader understands alike (``workflows.core.canonical``)."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        path = _path_in(parser_context)
        body = _read(stream, path)
        try:
            return loads_strict(body, max_bytes=most_bytes(path))
        except CanonicalError as error:
            problem = Problem("", error.code, error.message, error.path or "")
            raise InvalidInput(
                f"The body cannot be read: {error.message}.", [problem], code=error.code
            ) from None


class YAMLTextParser(BaseParser):
    """A YAML document as text; ``workflows.core.definition`` reads it."""

    media_type = "application/yaml"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Any = None
    ) -> dict[str, str]:
        try:
            body = _read(stream, _path_in(parser_context))
            return {"format": "yaml", "text": body.decode()}
        except UnicodeDecodeError:
            raise InvalidInput("The body is not UTF-8.", code="not_utf8") from None


def too_large(path: str) -> BodyTooLarge:
    """Return the refusal of a body that was sent to an address."""
    limit = most_bytes(path)
    return BodyTooLarge(f"The body is too long; at most {limit} bytes are read.", limit=limit)


def _path_in(parser_context: Any) -> str:
    path: str = parser_context["request"].path
    return path


def _read(stream: IO[bytes] | HttpRequest, path: str) -> bytes:
    body = stream.read(most_bytes(path) + 1)
    if len(body) > most_bytes(path):
        raise too_large(path)
    return body
