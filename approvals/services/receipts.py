"""Receipts: that a request was decided so, in a form that others can check.

A receipt holds what was decided on, the digest of it, and the records of all decisions with their
places in the workspace's chain. Everything in it can be recomputed by who has it
(``approvals/ledger.py``); that it is on record, ``check_receipt`` says over REST. It carries no
signature: one with a key of this server would need that key for checking, or a library that this
project does not have; and the chain also shows that nothing was changed here since.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from approvals.ledger import KEYS, content_of, hash_of
from approvals.models import ApprovalDecision, DecisionChain, WorkflowStepApproval
from approvals.services.records import shown_content
from workflows.core.canonical import digest
from workflows.core.errors import UnstorableError
from workflows.errors import Conflict, NotVisible
from workflows.models import User

VERSION = 1
_MOST_RECORDS = 1_000


def receipt(approval_id: UUID, *, user: User) -> dict[str, Any]:
    """Return the receipt of a request: its digest and the records of all its decisions.

    Raises NotVisible, and Conflict ``not_decided`` while there is no decision.
    """
    visible = WorkflowStepApproval.objects.visible_to(user).select_related("workspace")
    approval: WorkflowStepApproval | None = visible.filter(id=approval_id).first()
    if approval is None:
        raise NotVisible("There is no such request.")
    recorded = approval.decisions.filter(record_number__isnull=False).order_by("record_number")
    decisions = list(recorded.select_related("user"))
    if not decisions:
        raise Conflict("Nobody has decided this.", code="not_decided", status=approval.status)
    chain = DecisionChain.objects.get(workspace_id=approval.workspace_id)
    return {
        "version": VERSION,
        "workspace": approval.workspace.slug,
        "approval_id": str(approval.pk),
        "status": approval.status,
        "digest": approval.digest,
        "content": shown_content(approval),
        "records": [_record(decision) for decision in decisions],
        "chain": {"length": chain.length, "head": chain.head},
    }


def check_receipt(document: object) -> list[str]:
    """Return a sentence for everything in a receipt that is not as it was issued; none: it is.

    It needs no secret: the hashes are recomputed, and compared with those on record here.
    """
    try:
        return list(_mistakes(document))
    except (KeyError, TypeError, ValueError, UnstorableError):
        return ["This is no receipt."]


def _record(decision: ApprovalDecision) -> dict[str, Any]:
    """Return a record as a receipt shows it; ``by`` is a person's name, and not covered."""
    content = content_of([getattr(decision, key) for key in KEYS])
    by = decision.user.username if decision.user else None
    return {**content, "hash": decision.hash, "by": by}


def _mistakes(document: Any) -> Iterator[str]:
    if document["version"] != VERSION:
        raise ValueError(document["version"])
    approval_id = UUID(document["approval_id"])
    if digest(document["content"]) != document["digest"]:
        yield "The digest is not that of the content."
    records = document["records"]
    if not 0 < len(records) <= _MOST_RECORDS:
        raise ValueError(len(records))
    kept = {
        str(decision.pk): decision.hash
        for decision in ApprovalDecision.objects.filter(approval_id=approval_id)
    }
    for record in records:
        number = record["record_number"]
        if hash_of(content_of(record)) != record["hash"]:
            yield f"Record {number} was changed: its hash is another."
        elif kept.get(record["id"]) != record["hash"]:
            yield f"Record {number} is not on record here."
        elif record["approval_id"] != str(approval_id):
            yield f"Record {number} is of another request."
    approval = WorkflowStepApproval.objects.filter(pk=approval_id).first()
    if approval is not None and approval.digest != document["digest"]:
        yield "The content is not what the request shows."
    if approval is not None and approval.status != document["status"]:
        yield f"The request is {approval.status}, not {document['status']}."
    if kept.keys() - {record["id"] for record in records}:
        yield "There are more decisions on record than the receipt has."
