"""Context processor: what the frame of every page needs (`templates/base.html`)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from workflows.pages.reader import Reader


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Give the workspace, the others to switch to, the reader's role, and the event stream.

    Empty where nobody reads a page of a workspace: sign-in, errors, the admin.
    """
    reader: Reader | None = getattr(request, "reader", None)
    if reader is None:
        return {}
    return {
        "workspace": reader.workspace,
        "workspaces": reader.workspaces,
        "role": reader.role,
        "live_url": reader.live_url,
        "live_cursor": reader.live_cursor,
    }
