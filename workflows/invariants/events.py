"""I6, I9: the events of a workspace have no gap, and tell every move with who made it."""

from collections.abc import Iterator

from workflows.invariants.asking import RUN_END_EVENTS, STEP_END_EVENTS, Query

_STEP_END = {
    "completed": "step_completed",
    "failed": "step_failed",
    "timeout": "step_failed",
    "skipped": "step_skipped",
}
_RUN_END = {
    "completed": "workflow_completed",
    "failed": "workflow_failed",
    "timeout": "workflow_failed",
    "cancelled": "workflow_cancelled",
}
_NOT_STARTED = ("no_eligible_agent", "budget_exceeded")
# Nothing can be said of what was told where old events have been pruned.
_ALL_KEPT = (
    "NOT EXISTS (SELECT 1 FROM workflows_eventstream t"
    " WHERE t.workspace_id = r.workspace_id AND t.pruned_seq > 0)"
)


def events_are_contiguous(query: Query) -> Iterator[str]:
    """I6: the numbers of a workspace's events have no gap and end at its counter.

    Of those that were pruned some are left: those of runs that are kept.
    """
    for workspace, last, pruned, count, lowest, highest in query(
        "SELECT t.workspace_id, t.last_seq, t.pruned_seq, count(e.seq), min(e.seq), max(e.seq)"
        " FROM workflows_eventstream t LEFT JOIN workflows_event e"
        " ON e.workspace_id = t.workspace_id AND e.seq > t.pruned_seq"
        " GROUP BY t.workspace_id, t.last_seq, t.pruned_seq"
    ):
        is_whole = count == last - pruned
        if not is_whole or (count and (lowest != pruned + 1 or highest != last)):
            yield f"I6: {workspace} has {count} events, {lowest} to {highest}, counted {last}"


def every_step_told_its_moves(query: Query) -> Iterator[str]:
    """I9: each start and end of a step was told."""
    for run, name, status, attempts, pauses, code, starts, ends, end in query(
        "SELECT r.id, s.name, s.status, s.attempts, s.pauses, s.error_code,"
        " count(DISTINCT CASE WHEN e.event_type = 'step_started'"
        " AND CAST(e.data ->> 'attempt' AS integer) BETWEEN 1 AND s.attempts"
        " THEN e.data ->> 'attempt' END),"
        f" count(CASE WHEN e.event_type IN {STEP_END_EVENTS} THEN 1 END),"
        f" max(CASE WHEN e.event_type IN {STEP_END_EVENTS} THEN e.event_type END)"
        " FROM workflows_workflowstepexecution s"
        " JOIN workflows_workflowexecution r ON r.id = s.execution_id"
        " LEFT JOIN workflows_event e ON e.workflow_execution_id = s.execution_id"
        " AND e.workflow_step_id = s.id AND e.event_type LIKE 'step_%'"
        f" WHERE {_ALL_KEPT}"
        " GROUP BY r.id, s.id, s.name, s.status, s.attempts, s.pauses, s.error_code"
    ):
        # An attempt for which there was no agent or no budget has not started, nor has one that
        # asked people for it.
        if starts < attempts - pauses - (code in _NOT_STARTED):
            yield f"I9: {name} of {run} has {attempts} attempts, {starts} of them were told"
        expected = _STEP_END.get(status)
        if end != expected or ends > 1:
            yield f"I9: {name} of {run} is {status}, told was {end}, {ends} times"


def every_run_told_its_moves(query: Query) -> Iterator[str]:
    """I9: each run's start was told once, and its end if it has ended."""
    told = "FROM workflows_event e WHERE e.workflow_execution_id = r.id"
    for run, status, starts, last in query(
        f"SELECT r.id, r.status,"
        f" (SELECT count(*) {told} AND e.event_type = 'workflow_started'),"
        f" (SELECT e.event_type {told} AND e.event_type LIKE 'workflow_%'"
        " ORDER BY e.seq DESC LIMIT 1)"
        f" FROM workflows_workflowexecution r WHERE {_ALL_KEPT}"
    ):
        if starts != 1:
            yield f"I9: the run {run} was told to have started {starts} times"
        is_end = last is not None and f"'{last}'" in RUN_END_EVENTS
        if _RUN_END.get(status) != (last if is_end else None):
            yield f"I9: the run {run} is {status}, told last was {last}"


def every_event_has_an_actor(query: Query) -> Iterator[str]:
    """I9: whoever did it is named."""
    for workspace, seq, event_type in query(
        "SELECT workspace_id, seq, event_type FROM workflows_event WHERE actor = ''"
    ):
        yield f"I9: nobody is named for the event {seq} of {workspace}, {event_type}"
