"""Pictures of workflows and runs, as files."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse

from workflows.pages.graphs import draw_definition, steps_of
from workflows.picture import Node


def version_picture(definition: Mapping[str, Any], statuses: Mapping[str, str] = {}) -> str:
    """Return the picture of a definition, each step with its status where it has one."""

    def make(step: Mapping[str, Any]) -> Node:
        return Node(step["name"], step["step_type"], statuses.get(step["name"], ""))

    steps = steps_of(definition)
    return draw_definition(steps, make, title=definition["name"], is_standalone=True).svg


def svg_response(picture: str) -> HttpResponse:
    """Return a picture as an answer that runs nothing, wherever it is opened."""
    return HttpResponse(
        picture,
        content_type="image/svg+xml",
        headers={"Content-Security-Policy": "default-src 'none'"},
    )
