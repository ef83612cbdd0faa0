"""Answering a request for a page, or for one region of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from workflows.errors import NotPermitted, NotVisible

#: `refresh.js` names the regions that it wants anew in this header, with commas between them.
REGION_HEADER = "X-MGX-Region"


def answer(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    regions: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render a page, or only those regions of it that are asked for.

    Args:
        regions: the template of each region, by its name in `data-live-region`.
    """
    names = request.headers.get(REGION_HEADER, "").split(",")
    wanted = [regions[name] for name in names if name in regions] if regions else []
    if wanted:
        parts = [render_to_string(part, dict(context), request) for part in wanted]
        response = HttpResponse("".join(parts), status=status)
    else:
        response = render(request, template, dict(context), status=status)
    patch_vary_headers(response, [REGION_HEADER, "HX-Request"])
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@contextmanager
def refuse_as_page() -> Iterator[None]:
    """Let what a service refuses become the page that Django has for it."""
    try:
        yield
    except NotVisible as refusal:
        raise Http404(refusal.message) from refusal
    except NotPermitted as refusal:
        raise PermissionDenied(refusal.message) from refusal
