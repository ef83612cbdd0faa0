"""The history as a file, CSV or JSON: what its page shows, without what was decided on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from approvals.models import ApprovalDecision, WorkflowStepApproval
from approvals.pages.history import History
from workflows.downloads import csv_text
from workflows.models import User

EXPORTED_AT_MOST: Final = 10_000
_AT_ONCE: Final = 500

COLUMNS: Final = (
    "id",
    "title",
    "workflow",
    "run",
    "risk",
    "revision",
    "digest",
    "requested_by",
    "requested_at",
    "status",
    "decided_by",
    "decided_at",
    "feedback",
)


def history_csv(history: History) -> Iterator[str]:
    """Yield the lines of the CSV, one request each, the newest first."""
    yield csv_text([COLUMNS])
    for requests in _chunks(history):
        yield csv_text([_fields(each)[name] for name in COLUMNS] for each in requests)


def history_json(history: History) -> Iterator[str]:
    """Yield a JSON list of the requests, the newest first, each with all of its decisions."""
    separator = "[\n"
    for requests in _chunks(history):
        documents = (
            {**_fields(each), "decisions": [_decision(d) for d in each.decisions.all()]}
            for each in requests
        )
        yield separator + ",\n".join(json.dumps(each, default=str) for each in documents)
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _chunks(history: History) -> Iterator[list[WorkflowStepApproval]]:
    edge, left = "", EXPORTED_AT_MOST
    while left > 0:
        taken = history.take(before=edge, size=min(_AT_ONCE, left))
        if taken.rows:
            yield taken.rows
        if not taken.older:
            return
        edge, left = taken.older, left - len(taken.rows)


def _fields(approval: WorkflowStepApproval) -> dict[str, Any]:
    run = approval.workflow_execution
    return {
        "id": str(approval.pk),
        "title": approval.title,
        "workflow": run.workflow.name if run else None,
        "run": run.number if run else None,
        "risk": approval.risk,
        "revision": approval.revision,
        "digest": approval.digest,
        "requested_by": _username(approval.requested_by),
        "requested_at": approval.requested_at.isoformat(),
        "status": approval.status,
        "decided_by": _username(approval.approved_by),
        "decided_at": approval.responded_at.isoformat() if approval.responded_at else None,
        "feedback": approval.feedback,
    }


def _decision(decision: ApprovalDecision) -> dict[str, Any]:
    return {
        "record_number": decision.record_number,
        "user": _username(decision.user),
        "on_behalf_of": _username(decision.on_behalf_of),
        "outcome": decision.outcome,
        "comment": decision.comment,
        "door": decision.door,
        "is_final": decision.is_final,
        "digest": decision.digest,
        "revision": decision.revision,
        "decided_at": decision.decided_at.isoformat(),
        "hash": decision.hash,
    }


def _username(user: User | None) -> str | None:
    return user.get_username() if user else None
