"""Several drivers, approvers and cancellers in one thread, on a clock that nobody waits for.

A seed decides who acts next at each transaction's boundary, and what goes wrong there: a driver
dies, sleeps through its lease, loses a commit, hears of results late, twice or not at all.
"""

import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, transaction

from agents.models import AgentReservation
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from tests.db.engine.by_hand import DriverByHand, result_of
from tests.db.engine.scenes import Scene
from tests.db.simulation.checks import check
from tests.db.simulation.clock import Clock
from tests.db.simulation.model import QUEUE, SENT_BACK, Model, draw_model, kind_of
from workflows.bulk import select
from workflows.core.approval import Approval
from workflows.core.outcomes import Asks, Completed, Failed, Outcome
from workflows.engine import leases, timers
from workflows.engine.holdings import AfterCommit
from workflows.engine.inputs import dump_json
from workflows.engine.turn import Result
from workflows.errors import Conflict
from workflows.events import append_events
from workflows.handlers import StepContext
from workflows.models import EngineDriver, QueueLimit, WorkflowStepExecution
from workflows.policies import MAX_AGENT_STEPS
from workflows.services.executions import cancel_execution
from workflows.services.verbs import pause_execution, resume_execution

RUNS = 3
DRIVERS = 3
#: Acts with faults, and acts without: as many as it takes until all has ended, but not for ever.
WILD_ACTS = 120
CALM_ACTS = 20_000
#: Seconds between two moments at which drivers that are awake show that they live.
_BEAT = 5


@dataclass
class Driver:
    """A driver, the results that it has not heard of yet, and those that it has."""

    hand: DriverByHand = field(default_factory=DriverByHand)
    begun: list[StepContext] = field(default_factory=list)
    mailbox: list[Result] = field(default_factory=list)
    heard: list[Result] = field(default_factory=list)
    sleeps_until: datetime | None = None

    @property
    def id(self) -> UUID:
        return self.hand.holdings.driver_id

    def is_fenced(self) -> bool:
        [(fenced_at,)] = select(
            "SELECT fenced_at FROM workflows_enginedriver WHERE id = %s", self.id
        )
        return fenced_at is not None


class Simulation:
    """One seed's world. ``live`` it; everything that must hold is asserted on the way."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.draw = random.Random(seed)  # noqa: S311  (a test's own)
        self.clock = Clock()
        self.quota = self.draw.randint(1, 3)
        self.models: dict[UUID, Model] = {}
        self.drivers: list[Driver] = []
        self.cancelled: set[UUID] = set()
        self.paused: set[UUID] = set()
        self.calls: dict[tuple[UUID, str], list[int]] = {}
        self.tokens: dict[str, tuple[UUID, int]] = {}
        self.begun: set[tuple[UUID, int]] = set()
        self.handed_back: set[UUID] = set()
        #: Until when nobody was awake, each time.
        self.unwatched: list[datetime] = []
        self.faults = 0

    def live(self) -> None:
        with self.clock.rules(self.draw):
            for slug in ("worker", "other"):
                self.scene.agent(slug, definition="worker", places=self.draw.randint(1, 2))
            self.scene.workspace.settings = {MAX_AGENT_STEPS: self.quota}
            self.scene.workspace.save()
            QueueLimit.objects.create(workspace=self.scene.workspace, queue=QUEUE, max_running=1)
            for _ in range(RUNS):
                model = draw_model(self.draw)
                self.models[self.scene.run(*model.steps).id] = model
            for _ in range(WILD_ACTS):
                self.draw.choices([f for f, _ in _WILD], [weight for _, weight in _WILD])[0](self)
            for driver in self.drivers:
                driver.sleeps_until = None
            for _ in range(CALM_ACTS):
                if not select(
                    "SELECT 1 FROM workflows_workflowexecution WHERE completed_at IS NULL"
                ):
                    break
                self.draw.choices([f for f, _ in _CALM], [weight for _, weight in _CALM])[0](self)
            check(self)

    # --- what drivers do ------------------------------------------------------------------

    def take_turn(self) -> None:
        """Let a driver take a turn, with some of the results that wait for it."""
        if (driver := self._someone()) is None:
            return
        self.draw.shuffle(driver.mailbox)
        count = self.draw.randint(0, len(driver.mailbox))
        results, rest = driver.mailbox[:count], driver.mailbox[count:]
        is_fenced = driver.is_fenced()
        untouchable = self._untouchable(driver, results)
        try:
            self._begin(driver, driver.hand.turn(*results, drivers=len(self.drivers)))
        except leases.Fenced:
            assert is_fenced
            self._restart(driver)
            return
        assert not is_fenced, "a fenced driver has written"
        for before in untouchable:
            assert _rows([before.id])[before.id].attempts == before.attempts, "a late result counts"
        driver.mailbox, driver.heard = rest, driver.heard + results

    def hear_again(self) -> None:
        """Deliver results a second time."""
        if (driver := self._someone()) and driver.heard:
            self.faults += 1
            driver.mailbox += self.draw.choices(driver.heard[-8:], k=3)

    def run_body(self) -> None:
        """Let one attempt come to something; its driver will hear of it."""
        if (driver := self._someone()) and driver.begun:
            context = driver.begun.pop(self.draw.randrange(len(driver.begun)))
            driver.mailbox.append(result_of(context, self._outcome(context)))

    def lose_commit(self) -> None:
        """Let a turn fail at its last statement, or be over without its driver knowing."""
        if (driver := self._someone()) is None or driver.is_fenced():
            return
        self.faults += 1
        outage = OperationalError("gone")
        try:
            with patch("workflows.engine.turn.append_events", side_effect=outage):
                self._begin(driver, driver.hand.turn(*driver.mailbox))
        except OperationalError:
            driver.hand.holdings.forget()

    def die(self) -> None:
        """Let a driver be gone, sometimes just after a commit of which it hears nothing."""
        if (driver := self._someone()) is None:
            return
        self.faults += 1
        if self.draw.random() < 0.5 and not driver.is_fenced():
            self._note(driver.hand.turn(*driver.mailbox).start)
        self.drivers.remove(driver)
        if self.draw.random() < 0.7:  # Its process is known to be gone.
            EngineDriver.objects.filter(id=driver.id).update(
                heartbeat_at=datetime(2020, 1, 1, tzinfo=UTC)
            )

    def fall_asleep(self) -> None:
        """Let a driver do nothing for up to two leases, and then go on as if nothing were."""
        if driver := self._someone():
            self.faults += 1
            seconds = self.draw.uniform(1, 2 * settings.MGX_LEASE_SECONDS)
            driver.sleeps_until = self.clock.time + timedelta(seconds=seconds)

    def leave(self) -> None:
        """Let a driver stop as it does when it is asked to."""
        if (driver := self._someone()) is None or driver.is_fenced():
            return
        self.handed_back |= {step for _, step, _ in driver.hand.holdings.in_flight}
        driver.hand.holdings.hand_back_all()
        leases.sign_off(driver.id)
        self.drivers.remove(driver)

    def sweep(self) -> None:
        """Let somebody look who is gone."""
        leases.take_over_from_the_dead()

    def come(self) -> None:
        """Let another driver begin."""
        if len(self.drivers) < DRIVERS:
            self.drivers.append(Driver())

    def _untouchable(self, driver: Driver, results: list[Result]) -> list[WorkflowStepExecution]:
        """Return the driver's steps of which an attempt runs and only earlier ones are heard of."""
        if not results:
            return []
        given: dict[UUID, set[int]] = {}
        for result in results:
            given.setdefault(result.step_execution_id, set()).add(result.attempt)
        running = WorkflowStepExecution.objects.filter(
            id__in=given, status="running", execution__driver=driver.id
        )
        return [row for row in running if row.attempts not in given[row.id]]

    def _someone(self) -> Driver | None:
        awake = self._are_awake()
        return self.draw.choice(awake) if awake else None

    def _are_awake(self) -> list[Driver]:
        for driver in self.drivers:
            if driver.sleeps_until and driver.sleeps_until <= self.clock.time:
                driver.sleeps_until = None
        return [driver for driver in self.drivers if not driver.sleeps_until]

    def _restart(self, driver: Driver) -> None:
        self.drivers[self.drivers.index(driver)] = Driver()

    def _begin(self, driver: Driver, after: AfterCommit) -> None:
        stopped = set(after.cancel)
        driver.begun = [c for c in driver.begun if c.execution_id not in stopped]
        self._note(after.start)
        driver.begun += after.start

    def _note(self, contexts: list[StepContext]) -> None:
        """Hold attempts whose start was committed to what was committed before."""
        if not contexts:
            return
        ids = [context.step_execution_id for context in contexts]
        rows = _rows(ids)
        for context in contexts:
            step = (context.execution_id, context.step.name)
            assert context.execution_id not in self.cancelled, f"{step} began after a cancellation"
            assert context.execution_id not in self.paused, f"{step} began during a pause"
            assert rows[context.step_execution_id].completed_at is None, f"{step} began again"
            attempt = (context.step_execution_id, context.attempt)
            may_begin_again = context.step_execution_id in self.handed_back
            assert attempt not in self.begun or may_begin_again, f"{attempt} began twice"
            self.begun.add(attempt)
        held = AgentReservation.objects.filter(released_at=None).count()
        assert held <= self.quota, f"agents have {held} steps at once"

    def _outcome(self, context: StepContext) -> Outcome:
        calls = self.calls.setdefault((context.execution_id, context.name), [])
        calls.append(context.attempt)
        match kind_of(context.step.name):
            case "broken" | "tolerated":
                return Failed("error", "never")
            case "slow":
                return Failed("timeout", "too slow", is_timeout=True)
            case "flaky" | "queued" if len(calls) <= 2:
                return Failed("error", "not yet")
            case "moving" if len(calls) == 1:
                return Failed("error", "gone", elsewhere=True)
            case "asking" | "denied" if context.answer is None:
                return Asks(Approval(title="May I?"), {"call": len(calls)})
            case "denied":
                assert not context.answer["approved"]
                return Failed("error", "not allowed")
            case "asking":
                assert context.answer["approved"]
        token = f"call {len(self.tokens)}"
        self.tokens[token] = (context.step_execution_id, context.attempt)
        return Completed({"token": token}, dump_json({"token": token}))

    # --- what people and time do ----------------------------------------------------------

    def decide(self) -> None:
        """Let the approver decide, perhaps on what is decided already."""
        gates = WorkflowStepApproval.objects.order_by("id")
        columns = ("id", "status", "step_execution__name", "revision_count", "approval_metadata")
        requests = [
            (request_id, status, _answer(kind_of(step), count, rules))
            for request_id, status, step, count, rules in gates.values_list(*columns)
            if kind_of(step) in ("asked", "refused", "revised", "asking", "denied")
        ]
        if not requests:
            return
        request_id, status, (outcome, why) = self.draw.choice(requests)
        user = self.scene.users["approver"]
        try:
            decided = decide(Decision(request_id, outcome, why), user=user, door=Door.API)
        except Conflict:
            assert status == "cancelled"
        else:
            assert decided.repeated == (status == outcome)

    def cancel(self) -> None:
        """Let somebody cancel a run; nothing of it starts any more."""
        execution = self.draw.choice(list(self.models))
        try:
            cancel_execution(execution, user=self.scene.users["operator"])
        except Conflict:
            return
        self.faults += 1
        self.cancelled.add(execution)

    def pause(self) -> None:
        """Let somebody pause a run; nothing of it starts until it is resumed."""
        execution = self.draw.choice(list(self.models))
        with suppress(Conflict):
            pause_execution(execution, user=None)
            self.paused.add(execution)

    def resume(self) -> None:
        """Let somebody resume a run that is paused."""
        if self.paused:
            execution = self.draw.choice(sorted(self.paused))
            self.paused.remove(execution)
            with suppress(Conflict):  # it was cancelled meanwhile
                resume_execution(execution, user=None)

    def wait(self) -> None:
        """Let time pass; who is awake shows it, and fires what is due when it is."""
        end = self.clock.time + timedelta(seconds=self.draw.choice([0.2, 2, 10, 40]))
        due = timers.next_due(self.clock.time).timer
        while self.clock.time < end:
            beat = self.clock.time + timedelta(seconds=_BEAT)
            if not self._are_awake():
                self.unwatched.append(beat)
            while due and due <= beat and self._are_awake():
                self.clock.time = max(due, self.clock.time)
                with transaction.atomic():
                    append_events(timers.fire_due(self.clock.now(), 500), self.clock.now())
                due = timers.next_due(self.clock.time).timer
            self.clock.time = max(beat, self.clock.time)
            for driver in list(self.drivers):
                if driver.sleeps_until is None:
                    try:
                        leases.heartbeat(driver.id)
                    except leases.Fenced:
                        self._restart(driver)


def _answer(kind: str, revision_count: int, rules: dict[str, Any]) -> tuple[str, str]:
    """Return what the approver says to a request: always the same to the same."""
    if kind == "revised" and revision_count < SENT_BACK and "revise" in rules:
        return "request_changes", f"Not like {revision_count}"
    return ("rejected", "No") if kind in ("refused", "denied") else ("approved", "")


def _rows(ids: list[UUID]) -> dict[UUID, WorkflowStepExecution]:
    return WorkflowStepExecution.objects.in_bulk(ids)


_CALM = [
    (Simulation.take_turn, 10),
    (Simulation.run_body, 8),
    (Simulation.decide, 3),
    (Simulation.wait, 2),
    (Simulation.sweep, 1),
    (Simulation.come, 1),
    (Simulation.resume, 1),
]
_WILD = [
    *_CALM,
    (Simulation.hear_again, 2),
    (Simulation.lose_commit, 1),
    (Simulation.die, 1),
    (Simulation.fall_asleep, 1),
    (Simulation.leave, 0.5),
    (Simulation.cancel, 0.15),
    (Simulation.pause, 0.5),
]
