"""Files to be downloaded: in one piece, or written while they are sent.

Cells of a CSV that a spreadsheet would take for a formula are made plain text.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

CSV: Final = "text/csv; charset=utf-8"
JSON: Final = "application/json"
#: What begins a formula in one spreadsheet or another, the wide forms of East Asia among them.
_FORMULA: Final = ("=", "+", "-", "@", "|", "%", "＝", "＋", "－", "＠")


def attachment(content: bytes, content_type: str, name: str) -> HttpResponse:
    """Answer with a file."""
    return HttpResponse(content, content_type=content_type, headers=_headers(name))


def stream(
    request: HttpRequest, chunks: Iterator[str], content_type: str, name: str
) -> StreamingHttpResponse:
    """Answer with a file that is written chunk by chunk, so that none of it is kept."""
    is_async = isinstance(request, ASGIRequest)
    content = _in_threads(chunks) if is_async else chunks
    return StreamingHttpResponse(content, content_type=content_type, headers=_headers(name))


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Return lines of a CSV; None is an empty cell."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # Some spreadsheets look behind white space.
    return f"'{value}" if value.lstrip().startswith(_FORMULA) else value


def _headers(name: str) -> dict[str, str]:
    disposition = f'attachment; filename="{name}"'
    return {"Content-Disposition": disposition, "Cache-Control": "private, no-store"}


async def _in_threads(chunks: Iterator[str]) -> AsyncIterator[str]:
    take = sync_to_async(lambda: next(chunks, None))
    while (chunk := await take()) is not None:
        yield chunk
