"""A run whose process dies at every point at which it can: before and after each commit, and
before and after each body. Wherever that was, the run ends as one does to which nothing happens.
"""

import asyncio
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection, transaction

from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from tests.db.engine.by_hand import DriverByHand, result_of
from tests.db.engine.conftest import ask
from tests.db.engine.deaths import Crash, Death
from tests.db.engine.passing import let_pass
from tests.db.engine.scenes import AT_ONCE, Scene, agent, gate, task, temporary
from tests.invariants import assert_invariants
from workflows.clock import database_now
from workflows.engine import leases
from workflows.engine.bodies import run_body
from workflows.handlers import StepContext
from workflows.models import (
    Event,
    Signal,
    Timer,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
)
from workflows.services.verbs import signal_execution

pytestmark = pytest.mark.django_db(transaction=True)


def condition(name: str, expression: str, *after: str) -> dict[str, Any]:
    return {
        "name": name,
        "step_type": "condition",
        "depends_on_steps": list(after),
        "condition_expression": expression,
    }


def block(kind: str, name: str, *steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {
        "name": name,
        "step_type": kind,
        "depends_on_steps": ["first"],
        "config": {"steps": list(steps), **config},
    }


_WAITS = ("paid", "pause")

#: Every type of step, and every way to end one.
STEPS: list[dict[str, Any]] = [
    task("first", "crash.async"),
    task("sync", "crash.sync", after=["first"]),
    task("flaky", "crash.flaky", after=["first"], config=AT_ONCE),
    agent("agent", after=["first"], max_retries=0),
    gate("auto", after=["first"], auto_approve_after_seconds=3600),
    gate("gate", after=["sync", "flaky", "agent"]),
    condition("yes", "steps.gate.approved", "gate"),
    condition("no", "!steps.gate.approved", "gate"),
    task("after_no", "crash.async", after=["no"]),
    task("guarded", "crash.async", after=["gate"], condition_expression="1 > 2"),
    task(
        "tolerated", "crash.broken", after=["gate"], max_retries=0,
        config={"continue_on_error": True},
    ),
    task("always", "crash.async", after=["tolerated", "after_no"], trigger_rule="all_done"),
    block("parallel", "each", task("item", "crash.async"), for_each=[1, 2]),
    block(
        "sequential", "loop", task("turn", "crash.async"),
        repeat_until="index == 1", max_iterations=2,
    ),
    {**condition("which", "true", "each"), "config": {"branches": {"true": ["a"], "false": ["b"]}}},
    task("a", "crash.async", after=["which"]),
    task("b", "crash.async", after=["which"]),
    task(
        "saved", "crash.broken", after=["loop"], max_retries=0,
        config={"fallback": {"output": {"from": "the fallback"}}},
    ),
    {"name": "child", "step_type": "workflow", "config": {"workflow": "Child"}},
    {"name": "paid", "step_type": "wait", "config": {"event": "paid"}},
    {"name": "pause", "step_type": "wait", "config": {"seconds": 3600}},
    task(
        "last", "crash.async", after=["yes", "always", "auto", "a", "saved", "child", *_WAITS],
        inputs={"by": "${steps.gate.decided_by}"},
    ),
]  # fmt: skip

#: Which points are tried: all where that takes seconds.
EVERY = 1 if connection.vendor == "sqlite" or os.environ.get("MGX_CHAOS") == "long" else 3


@dataclass
class Ledger:
    """What happened outside: the key of each call of a body, by the name of its step."""

    keys: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def write(self, context: StepContext) -> dict[str, Any]:
        self.keys[context.name].append(context.idempotency_key)
        return {"from": context.name, "inputs": context.inputs}


class World:
    """One run, who drives it and who decides in it; all may die, and come again."""

    def __init__(self, scene: Scene, workflow: Workflow, death: Death) -> None:
        self.scene = scene
        self.death = death
        self.ledger = Ledger()
        self._workflow = workflow
        self._last_number = workflow.last_run_number
        self._driver: DriverByHand | None = None
        self.execution: WorkflowExecution

    def live(self) -> None:
        """Go on until the run has ended; whoever has died comes again."""
        for act in [self._start, *[self._drive, self._people] * 50]:
            try:
                with self.death.at_commits():
                    act()
            except Crash:
                if act == self._start:
                    self._start()
                elif act == self._drive:
                    self._take_over()
            self.execution.refresh_from_db()
            if self.execution.completed_at:
                return self._settle()
        pytest.fail(f"The run does not end: {self.picture()}")

    def _start(self) -> None:
        """Start it, unless it was started by someone who died before hearing of that."""
        runs = WorkflowExecution.objects.filter(
            workflow=self._workflow, number__gt=self._last_number
        )
        self.execution = runs.first() or self.scene.start(self._workflow)

    def _drive(self) -> None:
        self._driver = self._driver or DriverByHand()
        self._driver.turn()
        while self._driver.begun:
            contexts, self._driver.begun = list(self._driver.begun.values()), {}
            for context in contexts:
                self._driver.turn(result_of(context, self._run(context)))

    def _run(self, context: StepContext) -> Any:
        row = WorkflowStepExecution.objects.get(id=context.step_execution_id)
        assert row.completed_at is None, f"{row.name} runs although it has ended"
        self.death.point()
        outcome = asyncio.run(run_body(context))
        self.death.point()
        return outcome

    def _people(self) -> None:
        """Let an hour pass if that fires anything, send the event, and decide what is open."""
        if not Signal.objects.filter(execution=self.execution).exists():
            signal_execution(self.execution.id, name="paid", user=None)
        pauses = WorkflowStepExecution.objects.filter(name="pause", status="waiting")
        if pauses.update(due_at=database_now()):
            waiting = WorkflowExecution.objects.filter(id=self.execution.id, driver=None)
            waiting.update(wake_at=database_now())
        if Timer.objects.exclude(kind="approval_expiry").exists():
            let_pass(3600)
        for request in WorkflowStepApproval.objects.pending().filter(
            workflow_execution=self.execution, step_execution__name="gate"
        ):
            decision = Decision(request.id, "approved")
            decide(decision, user=self.scene.users["approver"], door=Door.API)

    def _take_over(self) -> None:
        if self._driver is not None:
            with transaction.atomic():
                leases.fence(self._driver.holdings.driver_id, database_now())
        self._driver = None

    def _settle(self) -> None:
        if self._driver is not None:
            self._driver.holdings.hand_back_all()
            leases.sign_off(self._driver.holdings.driver_id)

    def picture(self) -> dict[str, Any]:
        """Return what of a run does not depend on who died: not the attempts, nor the times."""
        steps = WorkflowStepExecution.objects.filter(execution=self.execution)
        outputs = {s.name: s.output_data for s in steps if s.name not in _WAITS}  # tell the time
        decisions = ApprovalDecision.objects.filter(approval__workflow_execution=self.execution)
        return {
            "run": (self.execution.status, self.execution.output_data, self.execution.error_code),
            "steps": {
                s.name: (s.status, outputs.get(s.name), s.skip_reason, s.error_code, s.revision)
                for s in steps
            },
            "events": self._told(),
            "decisions": sorted(
                (d.approval.step_execution.name, d.outcome, d.door, d.user_id or 0)
                for d in decisions.select_related("approval__step_execution")
            ),
        }

    def _told(self) -> dict[str, list[str]]:
        """Return each step's events, where one that is started again says so once."""
        names = dict(
            WorkflowStepExecution.objects.filter(execution=self.execution).values_list("id", "name")
        )
        told: dict[str, dict[str, None]] = defaultdict(dict)
        events = Event.objects.of_execution(self.execution.id).order_by("seq")
        for step, event_type in events.values_list("workflow_step_id", "event_type"):
            if event_type not in ("step_retrying", "agent_status_changed", "agent_activity"):
                told[names.get(step, "")][event_type] = None
        return {name: list(types) for name, types in told.items()}


@pytest.fixture
def workflow(scene: Scene) -> Iterator[Workflow]:
    """The workflow of ``STEPS``; its bodies write into the ledger of ``ledgers`` that is last."""
    scene.agent()
    with (
        temporary("crash.async")(_async),
        temporary("crash.sync")(_sync),
        temporary("crash.flaky")(_flaky),
        temporary("crash.broken")(_broken),
    ):
        scene.workflow(task("only", "crash.async"), name="Child")
        yield scene.workflow(*STEPS)


_ledgers: list[Ledger] = [Ledger()]


async def _async(context: StepContext, by: str = "") -> dict[str, Any]:
    return _ledgers[-1].write(context)


def _sync(context: StepContext) -> dict[str, Any]:
    return _ledgers[-1].write(context)


async def _flaky(context: StepContext) -> dict[str, Any]:
    answer = _ledgers[-1].write(context)
    if len(_ledgers[-1].keys["flaky"]) == 1:
        raise ConnectionError("not yet")
    return answer


async def _broken(context: StepContext) -> None:
    _ledgers[-1].write(context)
    raise ValueError("never")


def live(scene: Scene, workflow: Workflow, at: int) -> World:
    """Live through a run in which there is a death at one point; return how it went."""
    workflow.refresh_from_db()
    world = World(scene, workflow, Death(at))
    _ledgers[-1] = world.ledger
    world.live()
    return world


def calls(world: World) -> Counter[str]:
    return Counter({name: len(keys) for name, keys in world.ledger.keys.items()})


@pytest.mark.promise("P1 a death before and after every commit and every body")
def test_wherever_a_process_dies_the_run_ends_as_if_it_had_not(
    scene: Scene, workflow: Workflow, record_property: Any
) -> None:
    whole = live(scene, workflow, 0)
    assert whole.execution.status == "completed"
    assert {s[0] for s in whole.picture()["steps"].values()} == {"completed", "failed", "skipped"}
    died = 0
    for at in itertools.count(1, EVERY):
        world = live(scene, workflow, at)
        if world.death.points < at:
            break
        died += 1
        assert world.picture() == whole.picture(), f"a death at point {at}"
        for name, keys in world.ledger.keys.items():
            assert len(set(keys)) == 1, f"{name} has several keys: {keys}"
        repeated = calls(world) - calls(whole)
        assert repeated.total() <= 1, f"a death at point {at} repeated {repeated}"
        rows = WorkflowStepExecution.objects.filter(execution=world.execution)
        assert max(row.crashes for row in rows) <= 1
        assert_invariants(ask)
    assert died == len(range(1, whole.death.points + 1, EVERY))
    record_property("figures", f"{died} deaths in a run of {len(STEPS)} steps, every end the same")
