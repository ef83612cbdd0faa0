"""I7: nothing runs without a live driver, and nothing is left that nobody would wake."""

from collections.abc import Iterator

from workflows.invariants.asking import BLOCKS, RUN_ENDED, Check, Query, as_moment


def everything_has_an_owner(query: Query) -> Iterator[str]:
    """I7: what runs has a driver that is not known to be gone."""
    for run, number in query(
        "SELECT e.id, e.number FROM workflows_workflowexecution e"
        " JOIN workflows_enginedriver d ON d.id = e.driver_id"
        " WHERE d.stopped_at IS NOT NULL OR d.fenced_at IS NOT NULL"
    ):
        yield f"I7: the run {run} (number {number}) belongs to a driver that is gone"
    # A block runs nothing itself: it may be running while its steps only wait.
    for run, name in query(
        "SELECT e.id, s.name FROM workflows_workflowexecution e"
        " JOIN workflows_workflowstepexecution s ON s.execution_id = e.id"
        " WHERE e.driver_id IS NULL AND e.wake_at IS NULL AND s.status = 'running'"
        f" AND s.step_type NOT IN {BLOCKS}"
    ):
        yield f"I7: the step {name} of {run} counts as running, with no driver"


def somebody_wakes_it(query: Query) -> Iterator[str]:
    """I7: a run that nobody drives has a moment to be looked at, or waits for something."""
    idle = f"e.status NOT IN {RUN_ENDED} AND e.driver_id IS NULL AND e.wake_at IS NULL"
    for run, status in query(
        f"SELECT e.id, e.status FROM workflows_workflowexecution e WHERE {idle}"
        f" AND NOT e.is_paused AND NOT EXISTS"
        " (SELECT 1 FROM workflows_workflowstepexecution s"
        " WHERE s.execution_id = e.id AND s.status = 'waiting')"
    ):
        yield f"I7: the run {run} is {status}, and nothing will ever wake it"
    for run, status in query(
        f"SELECT e.id, e.status FROM workflows_workflowexecution e WHERE {idle}"
        " AND e.active_since IS NOT NULL"
    ):
        yield f"I7: the run {run} is {status}, and nothing will wake it when its time is up"
    # A child that has ended is told by a timer, in a transaction of its own. (A step that has
    # asked people waits for them, in its fallback.)
    for run, name in query(
        "SELECT e.id, s.name FROM workflows_workflowexecution e"
        " JOIN workflows_workflowstepexecution s ON s.execution_id = e.id"
        f" WHERE {idle} AND NOT e.is_paused"
        " AND s.status = 'waiting' AND s.step_type = 'workflow' AND s.pauses = 0 AND NOT EXISTS"
        " (SELECT 1 FROM workflows_workflowexecution c"
        f" WHERE c.parent_step_id = s.id AND (c.status NOT IN {RUN_ENDED} OR EXISTS"
        " (SELECT 1 FROM workflows_timer t"
        " WHERE t.subject_id = c.id AND t.kind = 'parent_wake')))"
    ):
        yield f"I7: the step {name} of {run} waits for a run that is over"
    for run, name in query(
        "SELECT e.id, s.name FROM workflows_workflowexecution e"
        " JOIN workflows_workflowstepexecution s ON s.execution_id = e.id"
        f" WHERE {idle} AND NOT e.is_paused"
        " AND s.due_at IS NOT NULL AND s.status IN ('waiting', 'retrying')"
    ):
        yield f"I7: the step {name} of {run} has a moment to go on, and the run has none"


def no_silent_owner(longest_seconds: float) -> Check:
    """Return the check that each run's driver was heard of within so many seconds."""

    def check(query: Query) -> Iterator[str]:
        """I7: a driver that holds runs is not silent beyond the time of a takeover."""
        [(moment,)] = query("SELECT CURRENT_TIMESTAMP")
        now = as_moment(moment)
        for driver, heartbeat, count in query(
            "SELECT d.id, d.heartbeat_at, count(*) FROM workflows_enginedriver d"
            " JOIN workflows_workflowexecution e ON e.driver_id = d.id"
            " GROUP BY d.id, d.heartbeat_at"
        ):
            heard = as_moment(heartbeat)
            assert now is not None
            assert heard is not None
            silent = (now - heard).total_seconds()
            if silent > longest_seconds:
                yield (
                    f"I7: the driver {driver} holds {count} runs"
                    f" and has been silent for {silent:.0f} s"
                )

    return check
