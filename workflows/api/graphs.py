"""Pictures of workflows and runs, as files."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse

from workflows.picture import Node, draw_picture


def version_picture(definition: Mapping[str, Any], statuses: Mapping[str, str] = {}) -> str:
    """Return the picture of a definition, each step with its status where it has one."""
    steps = definition["steps"]
    nodes = [
        Node(step["name"], step["step_type"], statuses.get(step["name"], "")) for step in steps
    ]
    edges = [
        (needed, step["name"]) for step in steps for needed in step.get("depends_on_steps") or ()
    ]
    return draw_picture(nodes, edges, title=definition["name"], is_standalone=True)


def svg_response(picture: str) -> HttpResponse:
    """Return a picture as an answer that runs nothing, wherever it is opened."""
    return HttpResponse(
        picture,
        content_type="image/svg+xml",
        headers={"Content-Security-Policy": "default-src 'none'"},
    )
