"""The one writer of decisions: each is numbered in its workspace and covers the one before it."""

from collections.abc import Sequence
from uuid import UUID

from approvals.ledger import KEYS, content_of, hash_of
from approvals.models import ApprovalDecision
from workflows.bulk import as_uuid, insert_objects, select, write

#: The number of the newest record of a workspace, and its hash.
Head = tuple[int, str]


def record_decisions(decisions: Sequence[ApprovalDecision]) -> None:
    """Write new decisions, in their order, with their numbers and hashes.

    Call it inside a transaction that has locked the executions and the requests, and locks
    nothing more but event streams. The decisions' requests must be loaded.
    """
    if not decisions:
        return
    heads = _lock({decision.approval.workspace_id for decision in decisions})
    for decision in decisions:
        workspace_id = decision.approval.workspace_id
        length, head = heads[workspace_id]
        decision.workspace_id = workspace_id
        decision.record_number = length + 1
        decision.previous_hash = head
        decision.hash = hash_of(content_of([getattr(decision, key) for key in KEYS]))
        heads[workspace_id] = decision.record_number, decision.hash
    insert_objects(decisions)
    for workspace_id, (length, head) in heads.items():
        write(
            "UPDATE approvals_decisionchain SET length = %s, head = %s WHERE workspace_id = %s",
            length, head, workspace_id,
        )  # fmt: skip


def _lock(workspace_ids: set[UUID]) -> dict[UUID, Head]:
    """Lock the chains of workspaces, in the order of their ids; begin those that are new."""
    heads = _locked(workspace_ids)
    if missing := workspace_ids - heads.keys():
        for workspace_id in sorted(missing):
            select(
                "INSERT INTO approvals_decisionchain (workspace_id, length, head)"
                " VALUES (%s, 0, '') ON CONFLICT DO NOTHING RETURNING length",
                workspace_id,
            )
        heads = _locked(workspace_ids)
    return heads


def _locked(workspace_ids: set[UUID]) -> dict[UUID, Head]:
    rows = select(
        "SELECT workspace_id, length, head FROM approvals_decisionchain"
        " WHERE workspace_id = ANY(%s) ORDER BY workspace_id FOR UPDATE",
        list(workspace_ids),
    )
    return {as_uuid(workspace_id): (length, head) for workspace_id, length, head in rows}
