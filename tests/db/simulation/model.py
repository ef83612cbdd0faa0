"""Random workflows, and how a run of each must end, worked out without the engine.

A step's name says what it comes to: ``flaky2`` is the step number 2, whose first calls fail. The
agent of ``moving3`` fails it, and another one takes over; that of ``asking4`` asks people first.
Only trigger rules are used whose answer does not depend on the order in which steps end.
"""

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.db.engine.scenes import agent, gate, task

#: What a step comes to when it runs, by the kind of the step.
COMES_TO = {
    "steady": "completed",
    "flaky": "completed",
    "queued": "completed",
    "broken": "failed",
    "tolerated": "failed",
    "slow": "timeout",
    "agent": "completed",
    "moving": "completed",
    "asking": "completed",
    "denied": "failed",
    "asked": "completed",
    "refused": "failed",
    "revised": "completed",
    "auto": "completed",
    "expiring": "timeout",
    "true": "completed",
    "false": "skipped",
}
#: The blocks, by their kind: their type and their configuration.
BLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    "block": ("parallel", {}),
    "tight": ("parallel", {"max_concurrency": 1}),
    "each": ("parallel", {"for_each": ["a", "b"]}),
    "narrow": ("parallel", {"for_each": ["a", "b", "c"], "max_concurrency": 1}),
    "loop": ("sequential", {"repeat_until": "index == 1", "max_iterations": 2}),
    "fork": ("sequential", {}),
}
#: How often what stands in a block runs that is numbered.
_ROUNDS = {"each": 2, "narrow": 3, "loop": 2}
#: The queue of which one step runs at once.
QUEUE = "one"
#: Seconds that a gate waits for itself.
PATIENCE = 60
_IN_BRANCHES = ("steady", "flaky", "broken", "tolerated", "moving", "asked", "auto", "false")
#: How often what a gate named so shows is sent back, if something can be done anew.
SENT_BACK = 2
_RULES = ("all_success", "all_success", "all_success", "all_done", "always", "one_success")


@dataclass(frozen=True)
class Model:
    """A workflow's steps, and the status that each of them, and the run, must end with.

    What stands in a block that does not run has none.
    """

    steps: list[dict[str, Any]]
    statuses: dict[str, str]

    @property
    def run_status(self) -> str:
        return _outcome(self.statuses)


def kind_of(name: str) -> str:
    return name.partition("[")[0].rstrip("0123456789")


def draw_model(draw: random.Random) -> Model:
    """Return a workflow of three to seven steps, some of which are blocks of up to three."""
    steps = _draw_steps(draw, [*COMES_TO, "steady", "flaky", "revised", *BLOCKS], range(7))
    return Model(steps, _statuses(steps))


def _draw_steps(draw: random.Random, kinds: list[str], numbers: range) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for number in numbers[: draw.randint(3, 7)]:
        names = [step["name"] for step in steps]
        before = sorted(draw.sample(names, min(len(names), draw.choice([0, 1, 1, 2, 2, 3]))))
        name = f"{draw.choice(kinds)}{number}"
        step = _step(name, before, draw)
        step["trigger_rule"] = draw.choice(_RULES) if before else "all_success"
        steps.append(step)
    return steps


def _step(name: str, before: list[str], draw: random.Random) -> dict[str, Any]:
    retry = {"retry": {"initial_seconds": draw.choice([0, 0, 7, 45]), "jitter": 0}}
    match kind_of(name):
        case "steady" | "flaky" | "slow":
            return task(name, after=before, config=retry, max_retries=2)
        case "queued":
            return task(name, after=before, config=retry | {"queue": QUEUE}, max_retries=2)
        case "broken" | "tolerated" as kind:
            config = retry | {"continue_on_error": kind == "tolerated"}
            return task(name, after=before, config=config, max_retries=draw.choice([0, 1]))
        case "agent" | "moving" | "asking":
            return agent(name, after=before, config=retry)
        case "denied":
            return agent(name, after=before, max_retries=0)
        case "asked" | "refused":
            return gate(name, after=before)
        case "revised":
            return gate(name, after=before, revise=draw.choice([None, *before]))
        case "auto":
            return gate(name, after=before, auto_approve_after_seconds=PATIENCE)
        case "expiring":
            return gate(name, after=before, expires_after_seconds=PATIENCE)
        case "block" | "tight" | "each" | "narrow" | "loop" | "fork" as kind:
            first = 10 * int(name.removeprefix(kind)) + 10
            numbers = range(first, first + 3)
            is_fork = kind == "fork"
            inner = _fork(draw, first) if is_fork else _draw_steps(draw, list(COMES_TO), numbers)
            step_type, config = BLOCKS[kind]
            block = {"name": name, "step_type": step_type, "depends_on_steps": before}
            return block | {"config": config | {"steps": inner}}
        case kind:
            condition = {"name": name, "step_type": "condition", "depends_on_steps": before}
            return condition | {"condition_expression": "1 < 2" if kind == "true" else "1 > 2"}


def _fork(draw: random.Random, first: int) -> list[dict[str, Any]]:
    """Return a choice, a step for each answer, and what comes after either in the sequence."""
    choice, *others = (
        f"{draw.choice(kinds)}{first + number}"
        for number, kinds in enumerate(
            [("left", "right"), _IN_BRANCHES, _IN_BRANCHES, ("steady", "queued", "asked")]
        )
    )
    left, right, after = (_step(name, [], draw) for name in others)
    for branch in (left, right):
        branch["depends_on_steps"] = [choice]
    branches = {"true": [left["name"]], "false": [right["name"]]}
    decides = {"name": choice, "step_type": "condition", "config": {"branches": branches}}
    decides["condition_expression"] = "1 < 2" if kind_of(choice) == "left" else "1 > 2"
    steps = [decides, left, right, after]
    for step in steps:
        step.setdefault("depends_on_steps", [])
        step["trigger_rule"] = "all_success"
    return steps


def _statuses(steps: list[dict[str, Any]]) -> dict[str, str]:
    """Return how each step ends; the steps come after those that they wait for."""
    statuses: dict[str, str] = {}
    within: dict[str, str] = {}
    for step in steps:
        name, before = step["name"], step["depends_on_steps"]
        succeeded = [
            b for b in before if statuses[b] == "completed" or _is_tolerated(b, statuses[b])
        ]
        match step["trigger_rule"]:
            case "all_success":
                runs = len(succeeded) == len(before)
            case "one_success":
                runs = bool(succeeded)
            case _:
                runs = True
        if not runs:
            statuses[name] = "skipped"
        elif kind_of(name) in BLOCKS:
            inner = _within(step)
            statuses[name] = _outcome(inner)
            within |= inner
        else:
            statuses[name] = COMES_TO[kind_of(name)]
    return statuses | within


def _within(block: dict[str, Any]) -> dict[str, str]:
    """Return how the steps of a block end: in all its rounds as in the first one."""
    kind = kind_of(block["name"])
    steps = block["config"]["steps"]
    if kind == "fork":
        return _of_fork(*steps)
    if kind == "loop":  # its steps run one after the other
        steps = steps[:1] + [_needing(step, one["name"]) for one, step in pairwise(steps)]
    statuses = _statuses(steps)
    if kind not in _ROUNDS:
        return statuses
    ends_at_once = kind == "loop" and _outcome(statuses) == "failed"
    rounds = range(1 if ends_at_once else _ROUNDS[kind])
    return {f"{name}[{number}]": end for number in rounds for name, end in statuses.items()}


def _of_fork(
    choice: dict[str, Any], left: dict[str, Any], right: dict[str, Any], after: dict[str, Any]
) -> dict[str, str]:
    taken, other = (left, right) if kind_of(choice["name"]) == "left" else (right, left)
    comes_to = COMES_TO[kind_of(taken["name"])]
    goes_on = comes_to == "completed" or _is_tolerated(taken["name"], comes_to)
    return {
        choice["name"]: "completed",
        taken["name"]: comes_to,
        other["name"]: "skipped",
        after["name"]: COMES_TO[kind_of(after["name"])] if goes_on else "skipped",
    }


def _needing(step: dict[str, Any], name: str) -> dict[str, Any]:
    return step | {"depends_on_steps": sorted({*step["depends_on_steps"], name})}


def _outcome(statuses: dict[str, str]) -> str:
    """Return how a run, or a block, of these steps ends."""
    failures = (
        name
        for name, status in statuses.items()
        if status in ("failed", "timeout") and not _is_tolerated(name, status)
    )
    return "failed" if any(failures) else "completed"


def _is_tolerated(name: str, status: str) -> bool:
    return kind_of(name) == "tolerated" and status == "failed"
