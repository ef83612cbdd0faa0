"""I4: what must hold of requests and decisions; see ``workflows/invariants``."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from approvals.ledger import KEYS, content_of, hash_of
from workflows.bulk import as_moment, as_uuid
from workflows.invariants.asking import RUN_ENDED, Check, Query

_EVENTS = {
    "approved": "approval_granted",
    "rejected": "approval_rejected",
    "request_changes": "changes_requested",
    "timeout": "approval_timeout",
    "cancelled": "approval_cancelled",
}
_NAMES = "', '".join(_EVENTS.values())
#: The events of which each tells of one record.
_RECORDED = "', '".join(
    {*_EVENTS.values(), "approval_counted", "decision_retracted"} - {"approval_cancelled"}
)
_JSON = ("stands_for", "response_data", "edited_data")
_UUIDS = ("workspace_id", "id", "approval_id", "grant_id", "retracts_id")
#: As text, which every driver gives as it is.
_COLUMNS = {key: f"CAST(d.{key} AS text)" for key in (*_JSON, "decided_at")}


def one_decision_a_request(query: Query) -> Iterator[str]:
    """I4: a request has at most one final decision, the one that its status tells."""
    for approval, status, decisions, outcome in query(
        "SELECT a.id, a.status, count(d.id), max(d.outcome) FROM workflow_step_approvals a"
        " LEFT JOIN approvals_approvaldecision d ON d.approval_id = a.id AND d.is_final"
        " GROUP BY a.id, a.status"
    ):
        expected = None if status in ("pending", "cancelled") else status
        if outcome != expected or decisions > 1:
            yield f"I4: the request {approval} is {status}, decided {outcome}, {decisions} times"


def every_decision_was_told(query: Query) -> Iterator[str]:
    """I4: the end of a request was told once."""
    for approval, status, count, event_type in query(
        "SELECT a.id, a.status, count(e.seq), max(e.event_type) FROM workflow_step_approvals a"
        " LEFT JOIN workflows_event e ON e.approval_id = a.id"
        f" AND e.event_type IN ('{_NAMES}')"
        " WHERE NOT EXISTS (SELECT 1 FROM workflows_eventstream t"
        " WHERE t.workspace_id = a.workspace_id AND t.pruned_seq > 0)"
        " GROUP BY a.id, a.status"
    ):
        if event_type != _EVENTS.get(status) or count > 1:
            yield f"I4: the request {approval} is {status}, told was {event_type}, {count} times"


def requests_match_their_steps(query: Query) -> Iterator[str]:
    """I4: a request and the waiting of its step commit together, and end together."""
    for approval, step_status, run_status in query(
        "SELECT a.id, s.status, e.status FROM workflow_step_approvals a"
        " JOIN workflows_workflowstepexecution s ON s.id = a.step_execution_id"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        " WHERE a.status = 'pending' AND s.status <> 'waiting'"
    ):
        yield f"I4: the request {approval} is open, its step {step_status}, the run {run_status}"
    waiting = (
        "SELECT e.id, s.name FROM workflows_workflowstepexecution s"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        " WHERE s.status = 'waiting' AND (s.step_type = 'approval' OR s.pauses > 0)"
        " AND NOT EXISTS (SELECT 1 FROM workflow_step_approvals a WHERE a.step_execution_id = s.id"
    )
    for run, name in query(f"{waiting})"):
        yield f"I4: the step {name} of {run} waits for nobody"
    # Once it is decided, the run has a driver or a moment at which one looks at it.
    for run, name in query(
        f"{waiting} AND a.status = 'pending') AND e.driver_id IS NULL AND e.wake_at IS NULL"
        f" AND NOT e.is_paused AND e.status NOT IN {RUN_ENDED}"
    ):
        yield f"I7: the step {name} of {run} is decided, and nothing will ever wake it"


def records_are_whole(query: Query) -> Iterator[str]:
    """I4: each decision on record has the hash of its content, and of the record before it."""
    columns = ", ".join(_COLUMNS.get(key, f"d.{key}") for key in KEYS)
    workspace, number, head = None, 0, ""
    for *values, hash_kept, length, chain_head in query(
        f"SELECT {columns}, d.hash, c.length, c.head FROM approvals_approvaldecision d"
        " LEFT JOIN approvals_decisionchain c ON c.workspace_id = d.workspace_id"
        " WHERE d.record_number IS NOT NULL ORDER BY d.workspace_id, d.record_number"
    ):
        content = content_of(_read(values))
        if content["workspace_id"] != workspace:
            workspace, number, head = content["workspace_id"], 0, ""
        name = f"record {content['record_number']} of {workspace}"
        if hash_of(content) != hash_kept:
            yield f"I4: {name} is not what its hash says"
        if content["record_number"] == number + 1 and content["previous_hash"] != head:
            yield f"I4: {name} does not follow from the one before it"
        number, head = content["record_number"], hash_kept
        if number > (length or 0):
            yield f"I4: {name} is beyond the end of its chain, {length}"
        elif number == length and head != chain_head:
            yield f"I4: {name} is the last one, but not the head of its chain"


def no_record_is_missing(query: Query) -> Iterator[str]:
    """I4: there are as many records as were numbered, and as many for a request as were told.

    Those of a run that was deleted are gone with it; the events that told of them are not, unless
    they were pruned.
    """
    told = f"e.event_type IN ('{_RECORDED}')"
    unpruned = (
        "NOT EXISTS (SELECT 1 FROM workflows_eventstream t"
        " WHERE t.workspace_id = {0}.workspace_id AND t.pruned_seq > 0)"
    )
    for workspace, length, kept, gone in query(
        "SELECT c.workspace_id, c.length,"
        " (SELECT count(*) FROM approvals_approvaldecision d"
        " WHERE d.workspace_id = c.workspace_id AND d.record_number IS NOT NULL),"
        f" (SELECT count(*) FROM workflows_event e WHERE e.workspace_id = c.workspace_id AND {told}"
        " AND NOT EXISTS (SELECT 1 FROM workflow_step_approvals a WHERE a.id = e.approval_id))"
        f" FROM approvals_decisionchain c WHERE {unpruned.format('c')}"
    ):
        if not kept <= length <= kept + gone:
            yield f"I4: {length} decisions were recorded in {workspace}, {kept} are there"
    counted = "SELECT approval_id, count(*) AS n FROM {} GROUP BY approval_id"
    kept_of = counted.format("approvals_approvaldecision WHERE record_number IS NOT NULL")
    told_of = counted.format(f"workflows_event e WHERE {told}")
    for approval, kept, count in query(
        f"SELECT a.id, kept.n, coalesce(told.n, 0) FROM ({kept_of}) AS kept"
        " JOIN workflow_step_approvals a ON a.id = kept.approval_id"
        f" LEFT JOIN ({told_of}) AS told ON told.approval_id = a.id"
        f" WHERE kept.n <> coalesce(told.n, 0) AND {unpruned.format('a')}"
    ):
        yield f"I4: {count} decisions on {approval} were told, {kept} are on record"


def _read(values: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of a record as they were hashed, whatever the database's driver gives."""
    row = dict(zip(KEYS, values, strict=True))
    for key, value in row.items():
        if value is None:
            continue
        if key in _JSON:
            row[key] = json.loads(value)
        elif key in _UUIDS:
            row[key] = as_uuid(value)
    row["decided_at"] = as_moment(row["decided_at"])
    row["is_final"] = bool(row["is_final"])
    return row


CHECKS: tuple[Check, ...] = (
    one_decision_a_request,
    every_decision_was_told,
    requests_match_their_steps,
    records_are_whole,
    no_record_is_missing,
)
