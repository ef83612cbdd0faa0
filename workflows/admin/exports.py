"""Drafts as files: one document as JSON or YAML, several as a ZIP of them."""

import io
import zipfile
from collections.abc import Iterable
from typing import Literal

from django.http import HttpResponse
from django.utils.text import slugify

from workflows.core.documents import dump_document
from workflows.downloads import attachment
from workflows.models import Workflow
from workflows.services.definitions import draft_document

_TYPES = {"json": "application/json", "yaml": "application/yaml"}


def export_draft(workflow: Workflow, format: str) -> HttpResponse:
    """Answer with the draft as a file; ``format``: ``yaml``, or else JSON."""
    kind: Literal["json", "yaml"] = "yaml" if format == "yaml" else "json"
    return attachment(_text(workflow, kind).encode(), _TYPES[kind], f"{_stem(workflow)}.{kind}")


def export_drafts(workflows: Iterable[Workflow]) -> HttpResponse:
    """Answer with a ZIP of several drafts as JSON, a folder for each workspace."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for workflow in workflows:
            # Two names may have the same letters left; the id tells them apart.
            name = f"{workflow.workspace.slug}/{_stem(workflow)}-{workflow.pk}.json"
            archive.writestr(name, _text(workflow, "json"))
    return attachment(buffer.getvalue(), "application/zip", "workflows.zip")


def _text(workflow: Workflow, format: Literal["json", "yaml"]) -> str:
    return dump_document(draft_document(workflow), format)


def _stem(workflow: Workflow) -> str:
    return slugify(workflow.name) or "workflow"
