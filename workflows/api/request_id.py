"""The name of one request, by which its answer, its log lines and its errors are found."""

import re

from django.http import HttpRequest

from workflows.core.ids import uuid7

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


def request_id(request: HttpRequest) -> str:
    """Return the id that the client sent, if it is a sane one, else a new one: always the same."""
    known = getattr(request, "mgx_request_id", None)
    if known is None:
        sent = request.headers.get(HEADER, "")
        known = sent if _SANE.fullmatch(sent) else str(uuid7())
        request.mgx_request_id = known  # type: ignore[attr-defined]
    return str(known)
