"""What follows: the planner is asked, and what it says is begun, until nothing moves any more."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.core.canonical import dumps_canonical
from workflows.core.compiled import CompiledStep
from workflows.core.errors import ExpressionError, UnstorableError
from workflows.core.outcomes import Asks, Completed, Failed, Revise
from workflows.core.planner import Move, Skip, Start, next_moves
from workflows.core.scope import ABSENT, Scope
from workflows.core.states import SkipReason, StepStatus
from workflows.core.steps import AnyBlock, ApprovalStep, ConditionStep
from workflows.engine.blocks import Blocks
from workflows.engine.budget import Budget
from workflows.engine.frames import Frame
from workflows.engine.inputs import dump_json, read_inputs, read_texts, request_size
from workflows.engine.limits import QueueLimits
from workflows.engine.reports import Reporter
from workflows.engine.revisions import Revisions
from workflows.engine.run import Run, StepRecord
from workflows.engine.run_moves import RunMoves, open_gates
from workflows.engine.step_moves import StepMoves
from workflows.engine.suspects import Suspects
from workflows.events import SYSTEM
from workflows.handlers import (
    GateHandler,
    NobodyElse,
    NotYet,
    Opening,
    ReservingHandler,
    StepContext,
    people,
    plugs,
)

#: When a gate that asked to be asked again at a moment, and had nothing to say, is asked next.
_ASK_AGAIN = timedelta(seconds=30)
#: When a step is tried again whose queue was full.
_ASK_FOR_ROOM = timedelta(seconds=0.25)


class Advance:
    """What follows in one turn. ``bodies``: the attempts whose start this turn records."""

    def __init__(
        self,
        now: datetime,
        moves: StepMoves,
        runs: RunMoves,
        blocks: Blocks,
        limits: QueueLimits,
        report: Reporter,
    ) -> None:
        self.bodies: list[tuple[Run, StepContext]] = []
        self._now = now
        self._moves = moves
        self._runs = runs
        self._blocks = blocks
        self._limits = limits
        self._report = report
        self._revisions = Revisions(now, moves, blocks)
        self._suspects = Suspects()
        self._budget = Budget()
        self._to_prepare: dict[ReservingHandler, list[tuple[Run, StepRecord, StepContext]]] = {}
        self._to_open: dict[GateHandler, list[tuple[Run, StepRecord, Opening]]] = {}

    def close_gates(self, runs: list[Run]) -> None:
        """Record what the open gates of runs came to."""
        sent_back: list[tuple[Run, StepRecord, Revise]] = []
        late: dict[GateHandler, list[UUID]] = {}
        for gate, steps in open_gates(run for run in runs if not run.is_paused).items():
            outcomes = gate.close(list(steps))
            for step_execution_id, (run, record) in steps.items():
                if outcome := outcomes.get(step_execution_id):
                    if record.pauses and isinstance(outcome, Completed | Revise):
                        self._moves.go_on_with(run, record, outcome.output)
                        continue
                    self._moves.apply(run, record, outcome)
                    if isinstance(outcome, Revise):
                        sent_back.append((run, record, outcome))
                    if isinstance(outcome, Failed) and outcome.is_timeout:
                        late.setdefault(gate, []).append(step_execution_id)
                elif record.due_at and record.due_at <= self._now:
                    record.due_at = run.due[record.name] = self._now + _ASK_AGAIN
                    self._moves.written[record.id] = (run.id, record)
        for run, record, outcome in sorted(sent_back, key=lambda sent: sent[1].name):
            self._revisions.send_back(run, record, outcome)
        for gate, step_execution_ids in late.items():
            self._report.add(gate.withdraw(step_execution_ids, self._now, SYSTEM))

    def end_late(self, runs: Iterable[Run]) -> None:
        """End the runs and the blocks whose time is up, from the top, for they take along what runs
        below them: that is left alone then."""
        for run in sorted(runs, key=lambda run: run.depth):
            if run.is_paused or run.id in self._report.cancelled:
                continue
            if (deadline := run.deadline()) and deadline <= self._now:
                self._runs.time_out(run)
            else:
                self._blocks.stop_late(run)

    def ask(self) -> None:
        """Ask people what steps have stopped for."""
        asking = self._moves.take_asking()
        if not asking:
            return
        openings = [
            Opening(
                run.context(record, {}),
                {"title": asks.approval.title, "description": asks.approval.description},
                dict(asks.payload),
                approval=asks.approval,
                revises=record.step,
            )
            for run, record, asks in asking
        ]
        self._report.add(people().open(openings, self._now))

    def until_nothing_moves(self, runs: list[Run]) -> None:
        """Plan, reserve and open gates as long as one of them has consequences."""
        runs = self._budget.in_order(runs)
        while True:
            for run in runs:
                self._budget.share(is_last=run is runs[-1])
                self._plan(run)
            has_moved = self._prepare()
            self.ask()
            if not has_moved and not self._open():
                return

    def _plan(self, run: Run) -> None:
        run.more_since, waits_since = None, run.more_since
        if run.is_paused or run.id in self._runs.left or run.id in self._report.cancelled:
            return
        for name in [n for n, due in run.retrying.items() if due <= self._now]:
            if self._budget.is_spent:
                break  # it stays due
            del run.retrying[name]
            record = run.records[name]
            self._begin(run, record.place, record.step)
        for name in [n for n, due in run.deferred.items() if due <= self._now]:
            if self._budget.is_spent:
                break
            del run.deferred[name]
            record = run.records[name]
            progress = record.place.progress
            if record.step in progress.statuses:
                # It was under way before it had to wait its turn: it has its place in its block.
                self._start(run, record.place, record.step)
                continue
            # What failed meanwhile may keep a first attempt from starting at all.
            judged = progress.judge(record.step)
            self._make(run, record.place, Start(record.step) if record.attempts else judged)
        full = []
        while run.stirred:
            # To the end, whatever the budget is: what a decision rules out commits with it.
            frame = run.stirred.pop(next(iter(run.stirred)))
            self._plan_frame(run, frame)
            if frame.held and frame.has_room:
                full.append(frame)
        for frame in full:
            run.stir(frame)
        if self._budget.is_spent and run.has_more(self._now):
            run.more_since = self._now if self._budget.has_begun else waits_since or self._now

    def _plan_frame(self, run: Run, frame: Frame) -> None:
        while frame.ended is None or frame.ended or (frame.held and self._has_room(frame)):
            ended, frame.ended = frame.ended, []
            if ended is None:
                frame.held.clear()
            for move in next_moves(frame.progress, ended):
                if move.name + frame.suffix not in run.deferred:
                    self._make(run, frame, move)
            while frame.held and self._has_room(frame):
                name = frame.held.pop(0)
                if name not in frame.progress.statuses:
                    self._make(run, frame, frame.progress.judge(name))
        run.stirred.pop(id(frame), None)  # by what was done right here
        if frame.is_over and frame is not run.top:
            self._blocks.close_frame(run, frame)

    def _make(self, run: Run, frame: Frame, move: Move | None) -> None:
        if isinstance(move, Skip):
            self._budget.spend(steps=1)
            self._moves.skip(run, run.record(frame, move.name), move.reason)
        elif isinstance(move, Start):
            if self._has_room(frame):
                self._begin(run, frame, move.name)
            elif move.name not in frame.held:
                frame.held.append(move.name)

    def _has_room(self, frame: Frame) -> bool:
        return frame.has_room and not self._budget.is_spent

    def _begin(self, run: Run, frame: Frame, name: str) -> None:
        self._start(run, frame, name)
        self._budget.spend(steps=1, size=len(run.records[name + frame.suffix].input_data or ""))

    def _start(self, run: Run, frame: Frame, name: str) -> None:
        record = run.record(frame, name)
        compiled = run.plan.compiled.steps[name]
        step = run.step_of(record)
        try:
            scope = run.scope(frame, record)
            if isinstance(step, ConditionStep):
                self._decide(run, record, compiled, scope)
                return
            if compiled.condition and not compiled.condition.evaluate_condition(scope):
                self._moves.skip(run, record, SkipReason.CONDITION_FALSE)
                return
            if isinstance(step, AnyBlock):
                self._blocks.open(run, record, compiled, scope)
                return
            inputs = read_inputs(compiled, scope)
            record.input_data = dump_json(inputs)
            texts = read_texts(compiled, scope)
            settings = compiled.settings.resolve(scope) if compiled.settings else {}
            if settings:
                record.input_data = dump_json({**inputs, **settings})
            payload = inputs or {n: frame.visible.get(n) for n in sorted(run.plan.needs[name])}
            if plugs()[step.step_type].gate:
                self._budget.spend(size=request_size(texts, payload))
        except (ExpressionError, UnstorableError) as error:
            self._moves.apply(run, record, Failed(error.code, str(error), is_final=True))
            return
        run.for_people.discard(record.name)
        if not self._suspects.admit(record.crashes, self._moves.written):
            run.deferred[record.name] = self._now + timedelta(seconds=NotYet().seconds)
            return
        plug = plugs()[step.step_type]
        if plug.work and not self._limits.admit(run, record):
            run.deferred[record.name] = self._now + _ASK_FOR_ROOM
            return
        record.attempts += 1
        context = run.context(record, inputs)
        if record.pauses:
            context.answer = _answer(record)
        if plug.gate:
            opening = Opening(context, texts, payload, settings)
            if isinstance(step, ApprovalStep):
                opening.approval = step.config.approval
                opening.revises = run.plan.done_anew_from(name, frame.progress.statuses)
            self._to_open.setdefault(plug.gate, []).append((run, record, opening))
            frame.progress.record(name, StepStatus.WAITING)
        elif plug.reserving:
            # Counts as begun at once, so that the planner does not offer it again.
            frame.progress.record(name, StepStatus.RUNNING)
            self._to_prepare.setdefault(plug.reserving, []).append((run, record, context))
        else:
            self._run_body(run, record, context)

    def _decide(self, run: Run, record: StepRecord, compiled: CompiledStep, scope: Scope) -> None:
        """Evaluate a condition, here and now: it does nothing else."""
        assert compiled.condition is not None
        step = compiled.step
        assert isinstance(step, ConditionStep)
        output: dict[str, Any] = {"result": True}
        if step.config.has_branches:
            value = compiled.condition.evaluate(scope)
            taken = value if isinstance(value, str) else dumps_canonical(value)
            branches = {**step.config.branches}
            chosen = branches.pop(taken, None)
            others = {name for names in branches.values() for name in names}
            if chosen is None:
                chosen, taken = step.config.default, "default"
            else:
                others.update(step.config.default)
            output = {"result": value, "branch": taken if chosen else None}
            record.place.progress.rule_out(others.difference(chosen))
        elif not compiled.condition.evaluate_condition(scope):
            self._moves.skip(run, record, SkipReason.CONDITION_FALSE)
            return
        record.attempts += 1
        record.started_at = self._now
        self._moves.move(run, record, StepStatus.RUNNING)
        self._report.started(run, record)
        self._moves.apply(run, record, Completed(output))

    def _prepare(self) -> bool:
        """Let handlers reserve what the new attempts need; tell whether that moved anything."""
        waiting, self._to_prepare = self._to_prepare, {}
        has_moved = False
        for handler, starts in waiting.items():
            answers = handler.prepare([context for _, _, context in starts], self._now)
            for (run, record, context), answer in zip(starts, answers, strict=True):
                if isinstance(answer, NotYet):
                    has_moved |= self._defer(run, record, answer)
                elif isinstance(answer, NobodyElse):
                    self._moves.keep(run, record)
                    has_moved = True
                elif isinstance(answer, Asks | Failed):
                    self._moves.apply(run, record, answer)
                    has_moved = True
                else:
                    if answer.takes_over_from:
                        self._report.taken_over(run, record, answer)
                    context.prepared = answer.value
                    record.agent_instance_id = answer.agent_instance_id
                    self._run_body(run, record, context, answer.agent_name)
        return has_moved

    def _defer(self, run: Run, record: StepRecord, answer: NotYet) -> bool:
        """Let a step wait its turn, but no longer than an attempt may take; tell if it is over."""
        record.attempts -= 1
        record.place.progress.forget(record.step)
        seconds = run.step_of(record).timeout_seconds
        if seconds and run.ready_since(record.name) + timedelta(seconds=seconds) <= self._now:
            message = f"It could not begin within its {seconds} seconds"
            self._moves.apply(
                run, record, Failed("timeout", message, is_final=True, is_timeout=True)
            )
            return True
        run.deferred[record.name] = self._now + timedelta(seconds=answer.seconds)
        if answer.for_people:
            run.for_people.add(record.name)
        return False

    def _open(self) -> bool:
        """Open the new gates; tell whether one of them could not be, which has consequences."""
        opening, self._to_open = self._to_open, {}
        has_failed = False
        for gate, steps in opening.items():
            events = gate.open([item for _, _, item in steps], self._now)
            for run, record, item in steps:
                record.started_at = self._now
                self._report.started(run, record)
                if item.failed:
                    self._moves.apply(run, record, item.failed)
                    has_failed = True
                    continue
                record.due_at = item.due_at
                self._moves.move(run, record, StepStatus.WAITING)
                if item.due_at:
                    run.due[record.name] = item.due_at
            self._report.add(events)
        return has_failed

    def _run_body(
        self, run: Run, record: StepRecord, context: StepContext, agent_name: str = ""
    ) -> None:
        record.started_at = self._now
        record.due_at = None
        self._moves.move(run, record, StepStatus.RUNNING)
        run.running += 1
        self._report.started(run, record, agent_name)
        self.bodies.append((run, context))


def _answer(record: StepRecord) -> Any:
    """Return what people answered to what a step asked last; None if that was withdrawn."""
    if record.answer is ABSENT:  # it was read anew since
        outcome = people().close([record.id]).get(record.id)
        record.answer = outcome.output if isinstance(outcome, Completed | Revise) else None
    return record.answer
