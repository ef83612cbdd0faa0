"""The one writer of decisions: each is numbered in its workspace and covers the one before it."""

from collections.abc import Sequence
from uuid import UUID

from approvals.ledger import KEYS, content_of, hash_of
from approvals.models import ApprovalDecision
from workflows.bulk import Query, Rows, as_uuid, insert_objects, select, write

#: Of each workspace the number of the newest record, and its hash.
Heads = dict[UUID, tuple[int, str]]


def record_decisions(decisions: Sequence[ApprovalDecision], heads: Heads | None = None) -> None:
    """Write new decisions, in their order, with their numbers and hashes.

    Call it inside a transaction that has locked the executions and the requests, and locks
    nothing more but event streams. The decisions' requests must be loaded. ``heads``: what
    ``lock_heads`` gave there.
    """
    if not decisions:
        return
    workspace_ids = {decision.approval.workspace_id for decision in decisions}
    heads = _lock(workspace_ids, heads or {})
    for decision in decisions:
        workspace_id = decision.approval.workspace_id
        length, head = heads[workspace_id]
        decision.workspace_id = workspace_id
        decision.record_number = length + 1
        decision.previous_hash = head
        decision.hash = hash_of(content_of([getattr(decision, key) for key in KEYS]))
        heads[workspace_id] = decision.record_number, decision.hash
    insert_objects(decisions)
    for workspace_id in workspace_ids:
        write(
            "UPDATE approvals_decisionchain SET length = %s, head = %s WHERE workspace_id = %s",
            *heads[workspace_id], workspace_id,
        )  # fmt: skip


def lock_heads(approval_ids: Sequence[UUID]) -> Query:
    """Return the query that locks the chains of requests' workspaces; ``read_heads`` reads it."""
    sql = _LOCK.format("IN (SELECT workspace_id FROM workflow_step_approvals WHERE id = ANY(%s))")
    return sql, [list(approval_ids)]


def read_heads(rows: Rows) -> Heads:
    """Return the heads of chains that are locked now."""
    return {as_uuid(workspace_id): (length, head) for workspace_id, length, head in rows}


_LOCK = (
    "SELECT workspace_id, length, head FROM approvals_decisionchain"
    " WHERE workspace_id {} ORDER BY workspace_id FOR UPDATE"
)


def _lock(workspace_ids: set[UUID], heads: Heads) -> Heads:
    """Lock the chains that are not locked, in the order of their ids; begin those that are new."""
    if heads.keys() >= workspace_ids:
        return heads
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


def _locked(workspace_ids: set[UUID]) -> Heads:
    return read_heads(select(_LOCK.format("= ANY(%s)"), list(workspace_ids)))
