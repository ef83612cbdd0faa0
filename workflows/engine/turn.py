"""One turn of a driver: one transaction that records what happened and starts what comes next.

The order is that of every turn: lock the driver's own row, lock the executions, note what their
steps came to, ask the planner, let gates open and agents be reserved, write the rows, append the
events. The locks follow the project's lock order: driver → execution (by id) →
approval, step, timer → event stream (by workspace).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from workflows.bulk import together, wake_engine
from workflows.core.errors import ExpressionError, UnstorableError
from workflows.core.outcomes import Failed, Outcome
from workflows.core.planner import Move, Skip, Start, next_moves
from workflows.core.states import SkipReason, StepStatus
from workflows.engine.inputs import (
    dump_json,
    read_inputs,
    read_texts,
    refuse_unshowable,
)
from workflows.engine.reports import Reporter
from workflows.engine.run import Run, StepRecord
from workflows.engine.run_moves import RunMoves
from workflows.engine.step_moves import StepMoves
from workflows.engine.store import (
    Claimed,
    Release,
    fail_execution,
    write_executions,
    write_steps,
)
from workflows.engine.suspects import Suspects
from workflows.events import SYSTEM, append_events
from workflows.handlers import (
    GateHandler,
    NotYet,
    Opening,
    ReservingHandler,
    StepContext,
    plugs,
)
from workflows.services.executions import cancel_open_steps

UNREADABLE = "This installation cannot read the version that the run is pinned to"


@dataclass(slots=True)
class Result:
    """What one attempt of a step came to, as its body reported it."""

    execution_id: UUID
    step_name: str
    attempt: int
    outcome: Outcome


class Turn:
    """What is to be written at the end of the turn, and what is to be run after its commit.

    ``bodies``: the attempts whose start this turn records.
    """

    def __init__(self, driver_id: UUID, now: datetime, *, is_draining: bool) -> None:
        self.driver_id = driver_id
        self.now = now
        self._is_draining = is_draining
        self._suspects = Suspects()
        self.bodies: list[tuple[Run, StepContext]] = []
        self._touched: dict[UUID, Run] = {}
        self._to_look_at: list[Run] = []
        self._to_prepare: dict[ReservingHandler, list[tuple[Run, StepRecord, StepContext]]] = {}
        self._to_open: dict[GateHandler, list[Opening]] = {}
        self._report = Reporter()
        self._moves = StepMoves(now, self._report)
        self._runs = RunMoves(now, self._moves, self._report)

    # --- what happened --------------------------------------------------------------------

    @property
    def touched(self) -> Iterable[Run]:
        """The runs that this turn was about."""
        return self._touched.values()

    @property
    def left(self) -> Mapping[UUID, Release]:
        """The runs that are no longer this driver's once the turn has committed."""
        return self._runs.left

    def begin(self, run: Run, known: Collection[tuple[UUID, str, int]]) -> None:
        """Take in a run that was just read. Attempts that are ``known`` still run here; the
        worker of any other one that counts as running has died."""
        self.wake(run)
        run.ended = None
        if run.started_at is None:
            run.started_at = self.now
        for name in list(run.records):
            record = run.records[name]
            if record.status is StepStatus.RUNNING:
                if (run.id, name, record.attempts) in known:
                    run.running += 1
                else:
                    self._moves.lose(run, record)

    def give_up(self, claimed: Iterable[Claimed], code: str, message: str) -> None:
        """End executions that cannot be carried on."""
        for row in claimed:
            fail_execution(row.id, code, message, self.now)
            self._report.add(cancel_open_steps(row.id, self.now, SYSTEM))
            self._report.broken(row, code)

    def wake(self, run: Run) -> None:
        """Look at a run because its gates may have been decided, or because time has passed."""
        self._to_look_at.append(run)
        self._touched[run.id] = run
        self._runs.written[run.id] = run

    def note(self, run: Run, result: Result) -> None:
        """Record what an attempt came to, unless it comes too late."""
        record = run.records[result.step_name]
        if record.status is not StepStatus.RUNNING or record.attempts != result.attempt:
            self._report.refused(run, result.step_name, result.attempt)
            return
        self._touched[run.id] = run
        run.running -= 1
        self._moves.apply(run, record, result.outcome)

    def refuse(self, run: Run, result: Result) -> None:
        """Record that a result came although the run had ended or belongs to another driver."""
        self._report.refused(run, result.step_name, result.attempt)
        self._moves.abandon(run.records[result.step_name], result.attempt)

    # --- what follows ---------------------------------------------------------------------

    def carry_out(self) -> None:
        """Plan until nothing moves, then write everything. Call it once, at the end."""
        self._close_gates()
        self._moves.settle()  # first, so that what has ended makes room for what begins
        self._advance()
        for run in self._touched.values():
            self._runs.conclude(run, is_draining=self._is_draining)
        self._write()

    def hand_back(self, run: Run) -> None:
        """Give a run up in the middle."""
        self._runs.hand_back(run)

    def _close_gates(self) -> None:
        """Record what the open gates of the runs to be looked at came to."""
        open_gates: dict[GateHandler, dict[UUID, tuple[Run, StepRecord]]] = {}
        for run in self._to_look_at:
            for name in run.waiting:
                record = run.records[name]
                gate = plugs()[record.step_type].gate
                assert gate is not None
                open_gates.setdefault(gate, {})[record.id] = (run, record)
        for gate, steps in open_gates.items():
            for step_execution_id, outcome in gate.close(list(steps)).items():
                self._moves.apply(*steps[step_execution_id], outcome)

    def _advance(self) -> None:
        if self._is_draining:
            return
        while True:
            for run in self._touched.values():
                self._plan(run)
            if not self._prepare():
                return

    def _plan(self, run: Run) -> None:
        if run.id in self._runs.left:
            return
        if (deadline := run.deadline()) and deadline <= self.now:
            self._runs.time_out(run)
            return
        for name in [n for n, due in run.retrying.items() if due <= self.now]:
            del run.retrying[name]
            self._start(run, name)
        for name in [n for n, due in run.deferred.items() if due <= self.now]:
            del run.deferred[name]
            # What failed meanwhile may keep a first attempt from starting at all.
            has_begun = run.record(name).attempts
            self._make(run, Start(name) if has_begun else run.progress.judge(name))
        while run.ended is None or run.ended:
            ended, run.ended = run.ended, []
            for move in next_moves(run.progress, ended):
                if move.name not in run.deferred:
                    self._make(run, move)

    def _make(self, run: Run, move: Move | None) -> None:
        if isinstance(move, Start):
            self._start(run, move.name)
        elif isinstance(move, Skip):
            self._moves.skip(run, run.record(move.name), move.reason)

    def _start(self, run: Run, name: str) -> None:
        record = run.record(name)
        compiled = run.plan.compiled.steps[name]
        try:
            scope = run.scope(record)
            if compiled.condition and not compiled.condition.evaluate_condition(scope):
                self._moves.skip(run, record, SkipReason.CONDITION_FALSE)
                return
            inputs = read_inputs(compiled, scope)
            record.input_data = dump_json(inputs)
            texts = read_texts(compiled, scope)
            payload = inputs or {n: run.outputs.get(n) for n in sorted(run.plan.needs[name])}
            if plugs()[record.step_type].gate:
                refuse_unshowable(texts, payload)
        except (ExpressionError, UnstorableError) as error:
            self._moves.apply(run, record, Failed(error.code, str(error), is_final=True))
            return
        if not self._suspects.admit(record.crashes, self._moves.written):
            run.deferred[name] = self.now + timedelta(seconds=NotYet().seconds)
            return
        plug = plugs()[record.step_type]
        record.attempts += 1
        context = run.context(record, inputs)
        if plug.gate:
            record.started_at = self.now
            self._moves.move(run, record, StepStatus.WAITING)
            self._report.started(run, record)
            self._to_open.setdefault(plug.gate, []).append(Opening(context, texts, payload))
        elif plug.reserving:
            # Counts as begun at once, so that the planner does not offer it again.
            run.progress.record(name, StepStatus.RUNNING)
            self._to_prepare.setdefault(plug.reserving, []).append((run, record, context))
        else:
            self._run_body(run, record, context)

    def _prepare(self) -> bool:
        """Let handlers reserve what the new attempts need; tell whether that moved anything."""
        waiting, self._to_prepare = self._to_prepare, {}
        has_moved = False
        for handler, starts in waiting.items():
            answers = handler.prepare([context for _, _, context in starts], self.now)
            for (run, record, context), answer in zip(starts, answers, strict=True):
                if isinstance(answer, NotYet):
                    has_moved |= self._defer(run, record, answer)
                elif isinstance(answer, Failed):
                    self._moves.apply(run, record, answer)
                    has_moved = True
                else:
                    context.prepared = answer.value
                    record.agent_instance_id = answer.agent_instance_id
                    self._run_body(run, record, context, answer.agent_name)
        return has_moved

    def _defer(self, run: Run, record: StepRecord, answer: NotYet) -> bool:
        """Let a step wait its turn, but no longer than an attempt may take; tell if it is over."""
        record.attempts -= 1
        run.progress.statuses.pop(record.name)
        seconds = run.plan.compiled.steps[record.name].step.timeout_seconds
        if seconds and run.ready_since(record.name) + timedelta(seconds=seconds) <= self.now:
            message = f"It could not begin within its {seconds} seconds"
            self._moves.apply(
                run, record, Failed("timeout", message, is_final=True, is_timeout=True)
            )
            return True
        run.deferred[record.name] = self.now + timedelta(seconds=answer.seconds)
        return False

    def _run_body(
        self, run: Run, record: StepRecord, context: StepContext, agent_name: str = ""
    ) -> None:
        record.started_at = self.now
        record.due_at = None
        self._moves.move(run, record, StepStatus.RUNNING)
        run.running += 1
        self._report.started(run, record, agent_name)
        self.bodies.append((run, context))

    # --- writing --------------------------------------------------------------------------

    def _write(self) -> None:
        self._moves.settle()
        for gate, openings in self._to_open.items():
            self._report.add(gate.open(openings, self.now))
        is_due = any(
            release.wake_at and release.wake_at <= self.now for release in self._runs.left.values()
        )
        with together():
            write_steps(self._moves.written.values())
            write_executions(
                self._runs.written.values(), driver_id=self.driver_id, released=self._runs.left
            )
            if is_due:
                wake_engine()
            append_events(self._report.events, self.now)
