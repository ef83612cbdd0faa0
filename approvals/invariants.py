"""I4: what must hold of requests and decisions; see ``workflows/invariants``."""

from collections.abc import Iterator

from workflows.invariants.asking import RUN_ENDED, Check, Query

_EVENTS = {
    "approved": "approval_granted",
    "rejected": "approval_rejected",
    "request_changes": "changes_requested",
    "timeout": "approval_timeout",
    "cancelled": "approval_cancelled",
}
_NAMES = "', '".join(_EVENTS.values())


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
        " WHERE s.status = 'waiting' AND s.step_type = 'approval'"
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


CHECKS: tuple[Check, ...] = (
    one_decision_a_request,
    every_decision_was_told,
    requests_match_their_steps,
)
