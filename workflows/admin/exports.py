"""Drafts as files: one document as JSON or YAML, several as a ZIP of them."""

import io
import json
import re
import zipfile
from collections.abc import Iterable
from typing import Any

import yaml
from django.http import HttpResponse
from django.utils.text import slugify

from workflows.models import Workflow
from workflows.services.definitions import draft_document

_TYPES = {"json": "application/json", "yaml": "application/yaml"}


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values out each time: whoever reads definitions accepts no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# "1e5" is a number to readers of YAML 1.2, though not to this writer: such text needs quotes.
_PlainDumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"), list("-0123456789")
)


def export_draft(workflow: Workflow, format: str) -> HttpResponse:
    """Answer with the draft as a file; ``format``: ``yaml``, or else JSON."""
    kind = format if format in _TYPES else "json"
    return _attachment(_text(workflow, kind).encode(), _TYPES[kind], f"{_stem(workflow)}.{kind}")


def export_drafts(workflows: Iterable[Workflow]) -> HttpResponse:
    """Answer with a ZIP of several drafts as JSON, a folder for each workspace."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for workflow in workflows:
            # Two names may have the same letters left; the id tells them apart.
            name = f"{workflow.workspace.slug}/{_stem(workflow)}-{workflow.pk}.json"
            archive.writestr(name, _text(workflow, "json"))
    return _attachment(buffer.getvalue(), "application/zip", "workflows.zip")


def _text(workflow: Workflow, format: str) -> str:
    document = draft_document(workflow)
    if format == "yaml":
        text: str = yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
        return text
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _stem(workflow: Workflow) -> str:
    return slugify(workflow.name) or "workflow"


def _attachment(content: bytes, content_type: str, name: str) -> HttpResponse:
    disposition = f'attachment; filename="{name}"'
    return HttpResponse(
        content, content_type=content_type, headers={"Content-Disposition": disposition}
    )
