"""I1, I2: each step of a run ends once, starts when it may, and stands where it belongs."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from workflows.core.structure import build_graphs, nodes_of
from workflows.invariants.asking import STEP_END_EVENTS, STEP_ENDED, Query, as_json, as_moment

_POSITION = re.compile(r"\[\d+\]$")
_NEVER = datetime.max.replace(tzinfo=UTC)


def one_result_a_step(query: Query) -> Iterator[str]:
    """I1: a step's revision is one row with one accepted result."""
    for run, name, revision in query(
        "SELECT execution_id, name, revision FROM workflows_workflowstepexecution"
        " GROUP BY execution_id, name, revision HAVING count(*) > 1"
    ):
        yield f"I1: there are two rows of {name} in {run}, revision {revision}"
    for step, count in query(
        "SELECT workflow_step_id, count(*) FROM workflows_event"
        f" WHERE event_type IN {STEP_END_EVENTS}"
        " GROUP BY workflow_step_id HAVING count(*) > 1"
    ):
        yield f"I1: the step {step} ended {count} times"


@dataclass(frozen=True, slots=True)
class _Place:
    """What a step of a definition waits for; ``previous`` is the one before it in a sequence."""

    before: tuple[str, ...]
    rule: str
    previous: str | None

    @property
    def needed(self) -> int:
        """How many of ``before`` have ended when the step starts."""
        count = len(self.before)
        fewer = {"always": 0, "one_success": min(1, count), "one_failed": min(1, count)}
        return fewer.get(self.rule, count)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """From when to when a revision of a step ran, and when the one before it was sent back.

    ``is_again``: it began once more, with what it had begun with. ``first_began``: it had begun
    before ``began``, and was handed to another driver.
    """

    began: datetime | None
    ended: datetime | None
    revised: datetime | None
    is_again: bool
    first_began: datetime | None


def no_step_before_its_rule(query: Query) -> Iterator[str]:
    """I2: nothing started before the steps that it waits for had ended, as its rule says."""
    places = {
        version: _places(as_json(definition)["steps"])
        for version, definition in query("SELECT id, definition FROM workflows_workflowversion")
    }
    rows = query(
        "SELECT s.execution_id, e.version_id, s.name, s.started_at, s.completed_at, s.revised_at,"
        " s.attempts, twice.first_began"
        " FROM workflows_workflowstepexecution s"
        " LEFT JOIN (SELECT workflow_step_id, min(timestamp) AS first_began FROM workflows_event"
        " WHERE event_type = 'step_started' GROUP BY workflow_step_id HAVING count(*) > 1) AS twice"
        " ON twice.workflow_step_id = s.id"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        " ORDER BY s.execution_id, s.revision"
    )
    for (run, version), steps in groupby(rows, key=itemgetter(0, 1)):
        revisions: dict[str, list[_Stretch]] = defaultdict(list)
        for _, _, name, began, ended, revised, attempts, first_began in steps:
            moments = as_moment(began), as_moment(ended), as_moment(revised)
            stretch = _Stretch(*moments, attempts > 1, as_moment(first_began))
            revisions[name].append(stretch)
        for text in _too_early(revisions, places[version]):
            yield f"I2: in {run}, {text}"


def _too_early(
    revisions: Mapping[str, list[_Stretch]], places: Mapping[str, _Place]
) -> Iterator[str]:
    for name, stretches in revisions.items():
        base, position = _without_position(name, places)
        place = places.get(base)
        if place is None:
            yield f"{name} is no step of the run's version"
            continue
        previous = f"{place.previous}{position}"
        for stretch in stretches:
            if stretch.began is None:
                continue
            done = [n for n in place.before if _had_ended(revisions.get(n + position, ()), stretch)]
            if len(done) < place.needed:
                yield f"{name} started when only {done} of {list(place.before)} had ended"
            if place.previous and not _had_ended(revisions.get(previous, ()), stretch):
                yield f"{name} started before {previous} had ended"


def _had_ended(revisions: Iterable[_Stretch], then: _Stretch) -> bool:
    """Tell whether a step had ended when another began, and was not to be done again.

    A revision that a retry has noted and that has not begun was noted later.
    """
    moment = then.began
    assert moment is not None
    first = then.first_began or moment
    known = [
        r
        for r in revisions
        if (r.revised <= first if r.revised else (r.began or r.ended or _NEVER) <= moment)
    ]
    ended = [r for r in known if r.ended and r.ended <= moment]
    return bool(ended) and (then.is_again or len(ended) == len(known))


def _places(steps: Sequence[Mapping[str, Any]]) -> dict[str, _Place]:
    """Return what each step of a definition waits for, those inside blocks too."""
    every = {step["name"]: step for step in _every(steps)}
    previous: dict[str, str] = {}
    for block, graph in build_graphs(nodes_of(steps)).items():
        if block and every[block]["step_type"] == "sequential":
            previous |= {later: earlier for earlier, later in pairwise(graph.order)}
    return {
        name: _Place(
            tuple(step.get("depends_on_steps") or ()),
            step.get("trigger_rule") or "all_success",
            previous.get(name),
        )
        for name, step in every.items()
    }


def _every(steps: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for step in steps:
        yield step
        yield from _every((step.get("config") or {}).get("steps") or ())


def _without_position(name: str, known: Mapping[str, Any]) -> tuple[str, str]:
    """Split ``check[3]`` into the step of the definition and where in its block it ran."""
    base, position = name, ""
    while base not in known and (found := _POSITION.search(base)):
        base, position = base[: found.start()], found[0] + position
    return base, position


def revisions_follow_one_another(query: Query) -> Iterator[str]:
    """A step is done again only after it has ended."""
    for run, name, revision in query(
        "SELECT later.execution_id, later.name, later.revision"
        " FROM workflows_workflowstepexecution later"
        " JOIN workflows_workflowstepexecution earlier"
        " ON earlier.execution_id = later.execution_id AND earlier.name = later.name"
        " AND earlier.revision = later.revision - 1"
        " WHERE earlier.completed_at IS NULL OR later.started_at < earlier.completed_at"
    ):
        yield f"I3: revision {revision} of {name} in {run} began before the one before had ended"
    for run, name, revision in query(
        "SELECT s.execution_id, s.name, s.revision FROM workflows_workflowstepexecution s"
        " WHERE s.revision > 1 AND NOT EXISTS"
        " (SELECT 1 FROM workflows_workflowstepexecution e WHERE e.execution_id = s.execution_id"
        " AND e.name = s.name AND e.revision = s.revision - 1)"
    ):
        yield f"I3: revision {revision} of {name} in {run} follows none"


def blocks_hold_their_steps(query: Query) -> Iterator[str]:
    """A nested step has its block's row, begins after it, and has ended when the block has."""
    nested = (
        "SELECT s.execution_id, s.name, s.parent FROM workflows_workflowstepexecution s"
        " WHERE s.parent <> ''"
    )
    its_block = "b.execution_id = s.execution_id AND b.name = s.parent"
    for run, name, parent in query(
        f"{nested} AND NOT EXISTS"
        f" (SELECT 1 FROM workflows_workflowstepexecution b WHERE {its_block})"
    ):
        yield f"I2: the step {name} of {run} stands in {parent}, which has no row"
    for run, name, parent in query(
        f"{nested} AND s.started_at IS NOT NULL AND NOT EXISTS"
        f" (SELECT 1 FROM workflows_workflowstepexecution b WHERE {its_block}"
        " AND b.started_at <= s.started_at) AND EXISTS"
        f" (SELECT 1 FROM workflows_workflowstepexecution b WHERE {its_block})"
    ):
        yield f"I2: the step {name} of {run} started before its block {parent}"
    for run, name, parent in query(
        f"{nested} AND s.completed_at IS NULL AND EXISTS"
        f" (SELECT 1 FROM workflows_workflowstepexecution b WHERE {its_block})"
        " AND NOT EXISTS"
        f" (SELECT 1 FROM workflows_workflowstepexecution b WHERE {its_block}"
        f" AND b.status NOT IN {STEP_ENDED})"
    ):
        yield f"I3: the block {parent} of {run} has ended, and its step {name} has not"
