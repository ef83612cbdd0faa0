"""What every request of a page needs before its view runs."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

#: `time.js` writes the browser's own time zone into this cookie.
ZONE_COOKIE = "mgx_zone"


class ReaderTimeZone:
    """Render times in the reader's zone, from the second page on; the first one says UTC."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        zone = _zone(request.COOKIES.get(ZONE_COOKIE, ""))
        if zone is None:
            return self.get_response(request)
        with timezone.override(zone):
            return self.get_response(request)


def _zone(name: str) -> ZoneInfo | None:
    if not 0 < len(name) <= 64:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        # A cookie is only a wish: names that are no zones, or no names at all, mean UTC.
        return None
