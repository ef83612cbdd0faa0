"""What a driver holds: the executions it owns, and what a turn does with them."""

import heapq
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from workflows.engine import leases, store
from workflows.engine.loading import Loader
from workflows.engine.progress import Told
from workflows.engine.run import Attempt, Run
from workflows.engine.turn import UNREADABLE, Result, Turn
from workflows.handlers import StepContext

logger = logging.getLogger("workflows.engine")

_CLAIMS_A_TURN = 250


@dataclass(slots=True)
class AfterCommit:
    """What the loop is told once a turn is committed.

    ``clock_offset``: by how many seconds the database's clock was ahead of ``time.monotonic``.
    """

    start: list[StepContext]
    cancel: list[UUID]
    cancel_attempts: list[Attempt]
    clock_offset: float
    may_claim_more: bool


class Holdings:
    """The executions of one driver.

    ``in_flight``: attempts whose result is not recorded yet. ``subjects``: the executions that
    the latest turn was about.
    """

    def __init__(self, driver_id: UUID) -> None:
        self.driver_id = driver_id
        self.in_flight: set[Attempt] = set()
        self.subjects: set[UUID] = set()
        self._runs: dict[UUID, Run] = {}
        self._looks: list[tuple[datetime, UUID]] = []
        self._loader = Loader()
        self._has_forgotten = False

    @property
    def next_look(self) -> datetime | None:
        """When the first of the runs wants to be looked at by itself."""
        return self._looks[0][0] if self._looks else None

    @property
    def are_to_be_compared(self) -> bool:
        """Whether there is anything that another driver may have taken away."""
        return bool(self._runs) or self._has_forgotten

    def forget(self) -> None:
        """Drop the copies of the rows; the next scan reads them again. Attempts run on."""
        self._runs.clear()
        self._looks.clear()
        self._has_forgotten = True

    def take_turn(
        self,
        results: list[Result],
        *,
        told: Sequence[Told] = (),
        about: datetime,
        drivers: int,
        has_hint: bool,
        is_inventory: bool,
        is_draining: bool,
        is_careful: bool = False,
    ) -> AfterCommit:
        """Record ``results`` and start what follows, in one transaction.

        ``told``: how far attempts are. ``about``: what time it is, more or less. ``has_hint``: look
        for decisions, and for executions to claim, of which the share is one in ``drivers``.
        ``is_inventory``: also look for executions that were taken away. ``is_draining``: start and
        claim nothing, and give back what is idle. ``is_careful``: be about one execution at most.

        Raises Fenced, or what the database raises; then nothing has happened.
        """
        at_most = 1 if is_careful else _CLAIMS_A_TURN
        due = set() if is_careful and results else self._due_looks(about, at_most)
        spoken_of = {result.execution_id for result in results} | {t.attempt[0] for t in told}
        involved = due | spoken_of.intersection(self._runs)
        self.subjects = set(involved)
        lock = store.lock_query(self.driver_id, involved, with_woken=has_hint and not is_careful)
        with transaction.atomic():
            held = leases.hold(self.driver_id, lock)
            clock_offset = held.now.timestamp() - time.monotonic()
            turn = Turn(self.driver_id, held, is_draining=is_draining)
            locked = store.locked(held.rows)
            gone = [run_id for run_id in involved if run_id not in locked]
            if (is_inventory or self._has_forgotten) and not (is_careful and involved):
                gone += self._take_inventory(turn, results, locked, 1 if is_careful else None)
            for run_id, state in locked.items():
                if run := self._runs.get(run_id):
                    run.is_paused = state.is_paused
                    if state.wake_at or run_id in due:
                        turn.wake(run)
            self._note(turn, results, locked)
            for each in told:  # after the results: what has ended is under way no more
                if (run := self._runs.get(each.attempt[0])) and run.id in locked:
                    turn.tell(run, each)
            may_claim = has_hint and not is_draining and not (is_careful and self.subjects)
            may_claim_more = may_claim and self._claim(turn, drivers, at_most)
            turn.carry_out()
        self.in_flight -= {result.key for result in results}
        start, stopped = self._settle(turn, gone)
        return AfterCommit(start, stopped, list(turn.stopped), clock_offset, may_claim_more)

    def give_up(self, error: Exception) -> None:
        """End the execution that a careful turn was about, which failed with ``error``."""
        message = f"The engine cannot carry this run on: {type(error).__name__}"
        with transaction.atomic():
            lock = store.lock_query(self.driver_id, self.subjects)
            turn = Turn(self.driver_id, leases.hold(self.driver_id, lock), is_draining=True)
            rows = store.lock_subjects(self.driver_id, list(self.subjects))
            turn.give_up(rows, "engine_error", message)
            turn.carry_out()

    def hand_back_all(self) -> None:
        """Give every execution to other drivers, in the middle of whatever they do."""
        with transaction.atomic():
            lock = store.lock_query(self.driver_id, self._runs)
            held = leases.hold(self.driver_id, lock)
            turn = Turn(self.driver_id, held, is_draining=True)
            for run_id in store.locked(held.rows):
                turn.hand_back(self._runs[run_id])
            turn.carry_out()
        self.forget()

    def _take_inventory(
        self,
        turn: Turn,
        results: list[Result],
        locked: dict[UUID, store.Locked],
        at_most: int | None,
    ) -> list[UUID]:
        """Read again what was forgotten, and lock it; return the runs that were taken away."""
        if not self.are_to_be_compared:
            return []
        owned = store.owned_executions(self.driver_id)
        forgotten = [run_id for run_id in owned if run_id not in self._runs]
        if at_most:
            wanted = {result.execution_id for result in results}
            forgotten.sort(key=lambda run_id: run_id not in wanted)
        if adopted := forgotten[:at_most]:
            rows = store.reload_executions(self.driver_id, adopted)
            self._adopt(turn, rows, self.in_flight)
            locked |= {row.id: store.Locked(is_paused=row.is_paused) for row in rows}
        self._has_forgotten = len(adopted) < len(forgotten)
        return [run_id for run_id in self._runs if run_id not in owned]

    def _note(self, turn: Turn, results: list[Result], locked: Collection[UUID]) -> None:
        """Record the results of those runs that are still this driver's."""
        late = []
        for result in results:
            run = self._runs.get(result.execution_id)
            if run is None:
                late.append(result.key)
            elif run.id in locked:
                turn.note(run, result)
            else:
                turn.refuse(run, result)
        if late:
            turn.refuse_late(late)

    def _claim(self, turn: Turn, drivers: int, at_most: int) -> bool:
        """Take a share of what is runnable; return whether it is worth coming back for more."""
        room = min(settings.MGX_DRIVER_CAPACITY - len(self._runs), at_most)
        if room <= 0:
            return False
        claimed, are_others_left = store.claim_executions(
            self.driver_id, at_most=room, drivers=drivers, now=turn.now
        )
        self._adopt(turn, claimed, ())
        return are_others_left

    def _adopt(self, turn: Turn, claimed: list[store.Claimed], known: Collection[Attempt]) -> None:
        """Make runs of claimed rows; an attempt that is ``known`` here goes on."""
        if not claimed:
            return
        self.subjects |= {row.id for row in claimed}
        runs = self._loader.load(claimed)
        for run in runs:
            self._runs[run.id] = run
            turn.begin(run, known)
        loaded = {run.id for run in runs}
        unreadable = [row for row in claimed if row.id not in loaded]
        turn.give_up(unreadable, "invalid_definition", UNREADABLE)

    def _due_looks(self, now: datetime, at_most: int) -> set[UUID]:
        due: set[UUID] = set()
        while self._looks and self._looks[0][0] <= now and len(due) < at_most:
            run_id = heapq.heappop(self._looks)[1]
            if run_id in self._runs:
                due.add(run_id)
        return due

    def _settle(self, turn: Turn, gone: list[UUID]) -> tuple[list[StepContext], list[UUID]]:
        """Bring the copies up to date with the transaction that has just committed.

        Return the bodies to start, and the executions whose bodies are to stop.
        """
        stopped = list(gone)
        for run_id in turn.left:
            if self._runs[run_id].running:
                stopped.append(run_id)
        for run_id in (*gone, *turn.left):
            self._runs.pop(run_id, None)
        if stopped:
            lost = set(stopped)
            self.in_flight = {a for a in self.in_flight if a[0] not in lost}
        self.in_flight.difference_update(turn.stopped)
        start = []
        for run, context in turn.bodies:
            if run.id in self._runs:
                self.in_flight.add((run.id, context.step_execution_id, context.attempt))
                start.append(context)
        for run in turn.touched:
            if run.id in self._runs and (look := run.next_look()):
                heapq.heappush(self._looks, (look, run.id))
        return start, stopped
