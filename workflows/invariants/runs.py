"""I3: what has ended stays as it is; and what holds between a run, its pauses and its parent."""

from collections.abc import Iterator

from workflows.invariants.asking import (
    RUN_END_EVENTS,
    RUN_ENDED,
    STEP_END_EVENTS,
    STEP_ENDED,
    Query,
)


def ends_are_final(query: Query) -> Iterator[str]:
    """I3: after a step's or a run's end nothing of it happens any more."""
    for step, event_type in query(
        "SELECT later.workflow_step_id, later.event_type FROM workflows_event ended"
        " JOIN workflows_event later"
        " ON later.workflow_execution_id = ended.workflow_execution_id"
        " AND later.workflow_step_id = ended.workflow_step_id AND later.seq > ended.seq"
        f" WHERE ended.event_type IN {STEP_END_EVENTS}"
        " AND later.event_type LIKE 'step_%' AND later.event_type <> 'step_result_refused'"
    ):
        yield f"I3: {event_type} of the step {step} after its end"
    told_later = "('step_result_refused', 'approval_commented', 'delegation_revoked')"
    # A run that is retried goes on: it tells so by an event of its own.
    for run, event_type in query(
        "SELECT later.workflow_execution_id, later.event_type FROM workflows_event ended"
        " JOIN workflows_event later"
        " ON later.workflow_execution_id = ended.workflow_execution_id"
        " AND later.seq > ended.seq"
        f" WHERE ended.event_type IN {RUN_END_EVENTS}"
        f" AND later.event_type NOT IN {told_later}"
        " AND NOT EXISTS (SELECT 1 FROM workflows_event again"
        " WHERE again.workflow_execution_id = ended.workflow_execution_id"
        " AND again.event_type LIKE 'workflow_%'"
        f" AND again.event_type NOT IN {RUN_END_EVENTS}"
        " AND again.seq > ended.seq AND again.seq <= later.seq)"
    ):
        yield f"I3: {event_type} of the run {run} after its end"


def ended_runs_have_no_open_steps(query: Query) -> Iterator[str]:
    """I3: when a run ends, its steps have."""
    for run, name, status in query(
        "SELECT e.id, s.name, s.status FROM workflows_workflowstepexecution s"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        f" WHERE e.status IN {RUN_ENDED} AND s.status NOT IN {STEP_ENDED}"
    ):
        yield f"I3: the run {run} has ended, but its step {name} is {status}"


def nothing_starts_while_paused(query: Query) -> Iterator[str]:
    """Between a pause and the next resume or retry no step starts: events are numbered as they
    commit."""
    for run, step in query(
        "SELECT started.workflow_execution_id, started.workflow_step_id"
        " FROM workflows_event paused JOIN workflows_event started"
        " ON started.workflow_execution_id = paused.workflow_execution_id"
        " AND started.seq > paused.seq AND started.event_type = 'step_started'"
        " WHERE paused.event_type = 'workflow_paused'"
        " AND NOT EXISTS (SELECT 1 FROM workflows_event resumed"
        " WHERE resumed.workflow_execution_id = paused.workflow_execution_id"
        " AND resumed.event_type IN ('workflow_resumed', 'workflow_retried')"
        " AND resumed.seq > paused.seq AND resumed.seq < started.seq)"
    ):
        yield f"I3: the step {step} started while the run {run} was paused"


def sub_workflows_know_their_steps(query: Query) -> Iterator[str]:
    """A run that another one runs belongs to a step of it, and has ended when that step is done."""
    child = (
        "SELECT c.id, s.name, s.status FROM workflows_workflowexecution c"
        " LEFT JOIN workflows_workflowstepexecution s ON s.id = c.parent_step_id"
        " LEFT JOIN workflows_workflowexecution p ON p.id = s.execution_id"
        " WHERE c.parent_step_id IS NOT NULL"
    )
    for run, _, _ in query(f"{child} AND (s.id IS NULL OR s.step_type <> 'workflow')"):
        yield f"I3: the run {run} belongs to a step that runs no workflow"
    for run, name, _ in query(
        f"{child} AND (c.depth <> p.depth + 1 OR c.workspace_id <> p.workspace_id)"
    ):
        yield f"I3: the run {run} does not stand below the run of its step {name}"
    for run, name, status in query(
        f"{child} AND s.status IN ('completed', 'failed') AND c.status NOT IN {RUN_ENDED}"
    ):
        yield f"I3: the step {name} is {status}, and its run {run} still goes on"
