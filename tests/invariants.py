"""What must hold in the database after whatever happened: asked in SQL, of either database.

Each check yields a sentence for every violation. ``query`` runs a statement and returns its rows,
so that a process tier without Django can ask too.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

Query = Callable[[str], list[Any]]

STEP_ENDED = "('completed', 'failed', 'skipped', 'cancelled', 'timeout')"
RUN_ENDED = "('completed', 'failed', 'cancelled', 'timeout')"
END_EVENTS = {
    "completed": "step_completed",
    "failed": "step_failed",
    "timeout": "step_failed",
    "skipped": "step_skipped",
}
RUN_END_EVENTS = {
    "completed": "workflow_completed",
    "failed": "workflow_failed",
    "timeout": "workflow_failed",
    "cancelled": "workflow_cancelled",
}
APPROVAL_EVENTS = {
    "approved": "approval_granted",
    "rejected": "approval_rejected",
    "request_changes": "changes_requested",
    "timeout": "approval_timeout",
    "cancelled": "approval_cancelled",
}


def assert_invariants(query: Query) -> None:
    """Fail with everything that does not hold."""
    violations = [text for check in CHECKS for text in check(query)]
    assert not violations, "\n".join(violations)


def one_result_a_step(query: Query) -> Iterator[str]:
    """I1: a step's revision is one row with one accepted result."""
    for row in query(
        "SELECT execution_id, name, revision FROM workflows_workflowstepexecution"
        " GROUP BY execution_id, name, revision HAVING count(*) > 1"
    ):
        yield f"I1: there are two rows of {row}"
    for row in query(
        "SELECT workflow_step_id, count(*) FROM workflows_event"
        " WHERE event_type IN ('step_completed', 'step_failed', 'step_skipped')"
        " GROUP BY workflow_step_id HAVING count(*) > 1"
    ):
        yield f"I1: the step {row[0]} ended {row[1]} times"


def no_step_before_its_rule(query: Query) -> Iterator[str]:
    """I2: nothing started before the steps that it waits for had ended, as its rule says."""
    definitions = {
        row[0]: {step["name"]: step for step in _json(row[1])["steps"]}
        for row in query("SELECT id, definition FROM workflows_workflowversion")
    }
    runs: dict[Any, dict[str, Any]] = defaultdict(dict)
    version_of = dict(query("SELECT id, version_id FROM workflows_workflowexecution"))
    for run, name, started, completed in query(
        "SELECT execution_id, name, started_at, completed_at FROM workflows_workflowstepexecution"
    ):
        runs[run][name] = (started, completed)
    for run, steps in runs.items():
        definition = definitions[version_of[run]]
        for name, (started, _) in steps.items():
            if started is None:
                continue
            before = definition[name].get("depends_on_steps") or []
            rule = definition[name].get("trigger_rule") or "all_success"
            done = [
                n
                for n in before
                if n in steps and steps[n][1] and _moment(steps[n][1]) <= _moment(started)
            ]
            needed = {
                "always": 0,
                "one_success": min(1, len(before)),
                "one_failed": min(1, len(before)),
            }
            if len(done) < needed.get(rule, len(before)):
                yield f"I2: {name} of {run} started when only {done} of {before} had ended"


def ends_are_final(query: Query) -> Iterator[str]:
    """I3: after a step's or a run's end nothing of it happens any more."""
    for row in query(
        "SELECT later.workflow_step_id, later.event_type FROM workflows_event later"
        " JOIN workflows_event ended ON ended.workflow_step_id = later.workflow_step_id"
        " AND ended.event_type IN ('step_completed', 'step_failed', 'step_skipped')"
        " WHERE later.seq > ended.seq AND later.event_type LIKE 'step_%'"
        " AND later.event_type <> 'step_result_refused'"
    ):
        yield f"I3: {row[1]} of the step {row[0]} after its end"
    for row in query(
        "SELECT later.workflow_execution_id, later.event_type FROM workflows_event later"
        " JOIN workflows_event ended"
        " ON ended.workflow_execution_id = later.workflow_execution_id"
        " AND ended.event_type IN"
        " ('workflow_completed', 'workflow_failed', 'workflow_cancelled')"
        " WHERE later.seq > ended.seq AND later.event_type NOT IN"
        " ('step_result_refused', 'approval_commented')"
    ):
        yield f"I3: {row[1]} of the run {row[0]} after its end"
    for row in query(
        "SELECT s.id, s.name, s.status FROM workflows_workflowstepexecution s"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        f" WHERE e.status IN {RUN_ENDED} AND s.status NOT IN {STEP_ENDED}"
    ):
        yield f"I3: the run has ended, but its step {row[1]} is {row[2]}"


def one_decision_a_request(query: Query) -> Iterator[str]:
    """I4: a request has at most one terminal decision, the one that its status tells, once told."""
    decisions = defaultdict(list)
    for approval, outcome in query(
        "SELECT approval_id, outcome FROM approvals_approvaldecision WHERE is_final"
    ):
        decisions[approval].append(outcome)
    events = defaultdict(list)
    names = "', '".join(APPROVAL_EVENTS.values())
    for approval, event_type in query(
        f"SELECT approval_id, event_type FROM workflows_event WHERE event_type IN ('{names}')"
    ):
        events[approval].append(event_type)
    for approval, status in query("SELECT id, status FROM workflow_step_approvals"):
        expected = [] if status in ("pending", "cancelled") else [status]
        if decisions[approval] != expected:
            yield f"I4: the request {approval} is {status}, decided {decisions[approval]}"
        told = [] if status == "pending" else [APPROVAL_EVENTS[status]]
        if events[approval] != told:
            yield f"I4: the request {approval} is {status}, its events say {events[approval]}"


def requests_match_their_steps(query: Query) -> Iterator[str]:
    """A request and the waiting of its step commit together, and end together."""
    for row in query(
        "SELECT a.id, s.status, e.status FROM workflow_step_approvals a"
        " JOIN workflows_workflowstepexecution s ON s.id = a.step_execution_id"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        " WHERE a.status = 'pending' AND s.status <> 'waiting'"
    ):
        yield f"the request {row[0]} is open, its step {row[1]}, the run {row[2]}"
    for row in query(
        "SELECT s.id, s.name FROM workflows_workflowstepexecution s WHERE s.status = 'waiting'"
        " AND NOT EXISTS (SELECT 1 FROM workflow_step_approvals a WHERE a.step_execution_id = s.id)"
    ):
        yield f"the step {row[1]} waits for nobody"


def places_are_kept(query: Query) -> Iterator[str]:
    """I5: an agent holds no more places than it has, and only for attempts that run."""
    held: dict[Any, int] = defaultdict(int)
    for (agent,) in query(
        "SELECT agent_instance_id FROM agents_agentreservation"
        " WHERE released_at IS NULL AND expires_at > CURRENT_TIMESTAMP"
    ):
        held[agent] += 1
    for agent, most in query("SELECT id, max_concurrency FROM agents_agentinstance"):
        if held[agent] > most:
            yield f"I5: the agent {agent} holds {held[agent]} places of {most}"
    for row in query(
        "SELECT s.name, s.status FROM agents_agentreservation r"
        " JOIN workflows_workflowstepexecution s ON s.id = r.step_execution_id"
        " WHERE r.released_at IS NULL AND s.status <> 'running'"
    ):
        yield f"I5: the step {row[0]} is {row[1]} and still holds a place"


def events_are_contiguous(query: Query) -> Iterator[str]:
    """I6: the numbers of a workspace's events have no gap and end at its counter."""
    for workspace, last, pruned, count, lowest, highest in query(
        "SELECT t.workspace_id, t.last_seq, t.pruned_seq, count(e.seq), min(e.seq), max(e.seq)"
        " FROM workflows_eventstream t LEFT JOIN workflows_event e"
        " ON e.workspace_id = t.workspace_id GROUP BY t.workspace_id, t.last_seq, t.pruned_seq"
    ):
        if count and (count != last - pruned or lowest != pruned + 1 or highest != last):
            yield f"I6: {workspace} has {count} events, {lowest} to {highest}, counted {last}"


def everything_has_an_owner(query: Query) -> Iterator[str]:
    """I7: nothing runs without a live driver, and nothing is left that nobody would wake."""
    for row in query(
        "SELECT e.id, d.stopped_at, d.fenced_at FROM workflows_workflowexecution e"
        " JOIN workflows_enginedriver d ON d.id = e.driver_id"
        " WHERE d.stopped_at IS NOT NULL OR d.fenced_at IS NOT NULL"
    ):
        yield f"I7: the run {row[0]} belongs to a driver that is gone"
    for row in query(
        "SELECT e.id, s.name FROM workflows_workflowexecution e"
        " JOIN workflows_workflowstepexecution s ON s.execution_id = e.id"
        " WHERE e.driver_id IS NULL AND e.wake_at IS NULL AND s.status = 'running'"
    ):
        yield f"I7: the step {row[1]} of {row[0]} counts as running, with no driver"
    for row in query(
        "SELECT e.id, e.status FROM workflows_workflowexecution e"
        f" WHERE e.status NOT IN {RUN_ENDED} AND e.driver_id IS NULL AND e.wake_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM workflow_step_approvals a"
        " WHERE a.workflow_execution_id = e.id AND a.status = 'pending')"
    ):
        yield f"I7: the run {row[0]} is {row[1]}, and nothing will ever wake it"


def every_move_has_its_event(query: Query) -> Iterator[str]:
    """I9: each start, end and retry of a step, and each start and end of a run, was told."""
    told: dict[Any, list[tuple[str, Any]]] = defaultdict(list)
    for step, event_type, data in query(
        "SELECT workflow_step_id, event_type, data FROM workflows_event"
        " WHERE workflow_step_id IS NOT NULL AND event_type LIKE 'step_%' ORDER BY seq"
    ):
        told[step].append((event_type, _json(data).get("attempt")))
    for step, name, status, attempts, code in query(
        "SELECT id, name, status, attempts, error_code FROM workflows_workflowstepexecution"
    ):
        starts = {attempt for event_type, attempt in told[step] if event_type == "step_started"}
        # An attempt for which there was no agent has not started.
        if not starts >= set(range(1, attempts + (code != "no_eligible_agent"))):
            yield f"I9: {name} has {attempts} attempts, told were {sorted(starts)}"
        ends = [t for t, _ in told[step] if t in END_EVENTS.values()]
        if ends != ([END_EVENTS[status]] if status in END_EVENTS else []):
            yield f"I9: {name} is {status}, told was {ends}"
    runs = defaultdict(list)
    for run, event_type in query(
        "SELECT workflow_execution_id, event_type FROM workflows_event"
        " WHERE event_type LIKE 'workflow_%'"
    ):
        runs[run].append(event_type)
    for run, status in query("SELECT id, status FROM workflows_workflowexecution"):
        end = [RUN_END_EVENTS[status]] if status in RUN_END_EVENTS else []
        if sorted(runs[run]) != sorted(["workflow_started", *end]):
            yield f"I9: the run {run} is {status}, told was {runs[run]}"


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _moment(value: Any) -> str:
    """Return a moment so that moments of one database can be compared."""
    return str(value)


CHECKS = (
    one_result_a_step,
    no_step_before_its_rule,
    ends_are_final,
    one_decision_a_request,
    requests_match_their_steps,
    places_are_kept,
    events_are_contiguous,
    everything_has_an_owner,
    every_move_has_its_event,
)
