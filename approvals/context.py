"""Context processor: how much waits for the reader, on every page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from approvals.models import WorkflowStepApproval
from workflows.pages import Reader


def waiting(request: HttpRequest) -> dict[str, Any]:
    """Give `waiting_count`: the requests of this workspace that the reader may decide now.

    It is counted only where a template asks for it.
    """
    reader: Reader | None = getattr(request, "reader", None)
    if reader is None:
        return {}

    def count() -> int:
        mine = WorkflowStepApproval.objects.decidable_by(reader.user)
        return mine.filter(workspace=reader.workspace).count()

    return {"waiting_count": SimpleLazyObject(count)}
