"""How a body is read: strictly, and never more of it than the limit."""

from typing import IO, Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from workflows.api.errors import BodyTooLarge, UnsupportedEncoding
from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError, Problem
from workflows.errors import InvalidInput


def admit_body(request: HttpRequest) -> None:
    """Refuse a body that is compressed or too long, before anything of it is understood.

    A body that does not tell its length is read up to the limit: DRF takes it for an empty one.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding("Compressed bodies are not accepted; send it as it is.")
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        if int(length) > settings.MGX_MAX_BODY_BYTES:
            raise _too_large()
    elif request.method not in ("GET", "HEAD", "OPTIONS"):
        body = _read(request)
        request._body = body  # as Django itself keeps it
        request.META["CONTENT_LENGTH"] = str(len(body))


class StrictJSONParser(BaseParser):
    """JSON that every reader understands alike (``workflows.core.canonical``)."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = _read(stream)
        try:
            return loads_strict(body, max_bytes=settings.MGX_MAX_BODY_BYTES)
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
            return {"format": "yaml", "text": _read(stream).decode()}
        except UnicodeDecodeError:
            raise InvalidInput("The body is not UTF-8.", code="not_utf8") from None


def _read(stream: IO[bytes] | HttpRequest) -> bytes:
    body = stream.read(settings.MGX_MAX_BODY_BYTES + 1)
    if len(body) > settings.MGX_MAX_BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> BodyTooLarge:
    limit = settings.MGX_MAX_BODY_BYTES
    return BodyTooLarge(f"The body is too long; at most {limit} bytes are read.", limit=limit)
