"""One turn of a driver: one transaction that records what happened and starts what comes next.

The order is that of every turn: lock the driver's own row, lock the executions, note what their
steps came to, ask the planner, let gates open and agents be reserved, write the rows, append the
events. The locks follow the project's lock order: driver → execution (by id) →
approval, step, timer → event stream (by workspace).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from workflows.bulk import together, wake_engine
from workflows.core.outcomes import Outcome
from workflows.core.states import StepStatus
from workflows.engine.advance import Advance
from workflows.engine.blocks import Blocks
from workflows.engine.leases import Held
from workflows.engine.limits import QueueLimits
from workflows.engine.progress import Told
from workflows.engine.reports import Reporter
from workflows.engine.run import Attempt, Run, StepRecord
from workflows.engine.run_moves import RunMoves
from workflows.engine.step_moves import StepMoves
from workflows.engine.store import (
    Claimed,
    LateStep,
    Release,
    fail_execution,
    late_steps,
    write_executions,
    write_steps,
)
from workflows.events import SYSTEM, append_events
from workflows.handlers import StepContext
from workflows.services.executions import cancel_open_steps
from workflows.services.subworkflows import wake_parents

UNREADABLE = "This installation cannot read the version that the run is pinned to"


@dataclass(slots=True)
class Result:
    """What one attempt of a step came to, as its body reported it."""

    execution_id: UUID
    step_execution_id: UUID
    step_name: str
    attempt: int
    outcome: Outcome
    notes: Any = None

    @classmethod
    def of(cls, context: StepContext, outcome: Outcome) -> "Result":
        """Return what the attempt of ``context`` came to."""
        step = context.step_execution_id, context.name
        return cls(context.execution_id, *step, context.attempt, outcome, context.notes)

    @property
    def size(self) -> int:
        """About how many bytes its output has."""
        return len(getattr(self.outcome, "text", None) or "")

    @property
    def key(self) -> Attempt:
        """Which attempt it is, of which revision of the step."""
        return self.execution_id, self.step_execution_id, self.attempt


class Turn:
    """What is to be written at the end of the turn, and what is to be run after its commit."""

    def __init__(self, driver_id: UUID, held: Held, *, is_draining: bool) -> None:
        self.driver_id = driver_id
        self.now = now = held.now
        self._is_draining = is_draining
        self._touched: dict[UUID, Run] = {}
        self._to_look_at: list[Run] = []
        self._broken_children: list[UUID] = []
        self._report = Reporter()
        self._moves = StepMoves(now, self._report)
        self._runs = RunMoves(now, self._moves, self._report)
        self._blocks = Blocks(now, self._moves, self._report)
        self._limits = QueueLimits(is_any=held.is_limited, written=self._moves.written)
        self._advance = Advance(
            now, self._moves, self._runs, self._blocks, self._limits, self._report
        )

    # --- what happened --------------------------------------------------------------------

    @property
    def touched(self) -> Iterable[Run]:
        """The runs that this turn was about."""
        return self._touched.values()

    @property
    def bodies(self) -> Iterable[tuple[Run, StepContext]]:
        """The attempts whose start this turn records."""
        return self._advance.bodies

    @property
    def stopped(self) -> Collection[Attempt]:
        """The attempts whose bodies are to be stopped."""
        return self._blocks.stopped

    @property
    def left(self) -> Mapping[UUID, Release]:
        """The runs that are no longer this driver's once the turn has committed."""
        return self._runs.left

    def begin(self, run: Run, known: Collection[Attempt]) -> None:
        """Take in a run that was just read. Attempts that are ``known`` still run here; the
        worker of any other one that counts as running has died."""
        self.wake(run)
        if run.started_at is None:
            run.started_at = self.now
        for block in list(run.blocks.values()):
            self._blocks.go_on(run, block)
        for name in list(run.records):
            record = run.records[name]
            if record.status is StepStatus.RUNNING and name not in run.blocks:
                if (run.id, record.id, record.attempts) in known:
                    run.running += 1
                else:
                    self._moves.lose(run, record)

    def give_up(self, claimed: Iterable[Claimed], code: str, message: str) -> None:
        """End executions that cannot be carried on."""
        for row in claimed:
            fail_execution(row.id, code, message, self.now)
            if row.parent_step_id:
                self._broken_children.append(row.id)
            self._report.add(cancel_open_steps(row.id, self.now, SYSTEM))
            self._report.broken(row, code)

    def wake(self, run: Run) -> None:
        """Look at a run because its gates may have been decided, or because time has passed."""
        self._to_look_at.append(run)
        self._touched[run.id] = run
        self._runs.written[run.id] = run

    def note(self, run: Run, result: Result) -> None:
        """Record what an attempt came to, unless it comes too late."""
        record = run.latest(result.step_name)
        if not run.is_current(record, result.key):
            self._refuse(run, record, result)
            return
        self._touched[run.id] = run
        run.running -= 1
        self._moves.apply(run, record, result.outcome, result.notes)

    def tell(self, run: Run, told: Told) -> None:
        """Let people know how far an attempt is, if it still counts."""
        record = run.latest(told.step_name)
        if run.is_current(record, told.attempt):
            self._report.told(run, record, told)
            self._moves.hear(run, record)

    def refuse(self, run: Run, result: Result) -> None:
        """Record that a result came although the run had ended or belongs to another driver."""
        record = run.latest(result.step_name)
        self._refuse(run, record, result)
        if record.id == result.step_execution_id:
            self._moves.abandon(run, record, result.attempt)

    def refuse_late(self, attempts: Sequence[Attempt]) -> None:
        """Record that results came of runs that this driver has not got any more."""
        for step, number in late_steps(attempts):
            self._report.refused(step, number)

    def _refuse(self, run: Run, record: StepRecord, result: Result) -> None:
        of_run = run.id, run.workflow_id, run.workspace_id
        step = LateStep(result.step_execution_id, record.name, record.agent_instance_id, *of_run)
        self._report.refused(step, result.attempt)

    # --- what follows ---------------------------------------------------------------------

    def carry_out(self) -> None:
        """Plan until nothing moves, then write everything. Call it once, at the end."""
        self._advance.ask()  # first, so that no earlier answer is taken for that to this
        if not self._is_draining:
            # What a gate leads to, and what it rules out, commits with its end.
            self._advance.close_gates(self._to_look_at)
        self._moves.settle()  # first, so that what has ended makes room for what begins
        if not self._is_draining:
            self._advance.end_late(self._touched.values())
            self._advance.until_nothing_moves(list(self._touched.values()))
        self._runs.conclude(self._touched.values(), is_draining=self._is_draining)
        self._write()

    def hand_back(self, run: Run) -> None:
        """Give a run up in the middle."""
        self._runs.hand_back(run)

    # --- writing --------------------------------------------------------------------------

    def _write(self) -> None:
        self._moves.settle()
        ended = [run_id for run_id, release in self._runs.left.items() if release.completed_at]
        told = {*ended, *self._runs.clocks}
        children = [run_id for run_id in told if self._runs.written[run_id].parent_step_id]
        is_due = any(
            release.wake_at and release.wake_at <= self.now for release in self._runs.left.values()
        )
        cancelled = self._report.cancelled
        steps = [step for step in self._moves.written.values() if step[0] not in cancelled]
        runs = [run for run in self._runs.written.values() if run.id not in cancelled]
        with together():
            write_steps(steps)
            self._limits.write()
            write_executions(runs, driver_id=self.driver_id, released=self._runs.left)
            if is_due:
                wake_engine()
            if children := [*children, *self._broken_children]:
                wake_parents(children, self.now)
            append_events(self._report.of_what_is_written, self.now)
