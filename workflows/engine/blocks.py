"""Blocks: how parallel and sequential steps open their frames, go on, and end."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from workflows.core.compiled import CompiledStep
from workflows.core.errors import ExpressionError, UnstorableError
from workflows.core.outcomes import Completed, Failed
from workflows.core.planner import Progress
from workflows.core.scope import Scope
from workflows.core.sequence import InTurn
from workflows.core.states import TERMINAL_STEP_STATUSES, StepStatus
from workflows.core.steps import MAX_ITERATIONS, ParallelStep, SequentialStep
from workflows.engine.frames import BlockState, Frame
from workflows.engine.halting import halt_again, is_halted_from_outside
from workflows.engine.inputs import dump_json, dump_result
from workflows.engine.reports import Reporter
from workflows.engine.run import Attempt, Run, StepRecord
from workflows.engine.step_moves import StepMoves
from workflows.events import SYSTEM
from workflows.handlers import GateHandler, gate_of


class Blocks:
    """The blocks of one turn. ``stopped``: the attempts whose bodies are to be stopped."""

    def __init__(self, now: datetime, moves: StepMoves, report: Reporter) -> None:
        self.stopped: list[Attempt] = []
        self._now = now
        self._moves = moves
        self._report = report

    def open(self, run: Run, record: StepRecord, compiled: CompiledStep, scope: Scope) -> None:
        """Begin a block. Raises ExpressionError or UnstorableError for what it is mapped over."""
        step = compiled.step
        assert isinstance(step, ParallelStep | SequentialStep)
        items = compiled.for_each.resolve(scope) if compiled.for_each else None
        if items is not None:
            if not isinstance(items, list):
                raise ExpressionError("for_each is not a list here")
            if len(items) > MAX_ITERATIONS:
                raise ExpressionError(f"for_each has more than {MAX_ITERATIONS} items")
            record.input_data = dump_json({"for_each": items})
        record.attempts += 1
        record.started_at = self._now
        self._moves.move(run, record, StepStatus.RUNNING)
        self._report.started(run, record)
        graph = run.plan.compiled.graphs[record.step]
        block = BlockState(record, step, graph, items)
        block.is_halted = is_halted_from_outside(run, block)
        run.add_block(block)
        self.go_on(run, block)

    def go_on(self, run: Run, block: BlockState) -> None:
        """Open the frames that may be open now; end the block if there are none left."""
        open_frames(run, block)
        if not block.frames:
            self._end(run, block)

    def close_frame(self, run: Run, frame: Frame) -> None:
        """Take in what a frame came to that is over."""
        block = run.blocks[frame.owner]
        del block.frames[frame.number]
        order = frame.progress.graph.order
        block.results[frame.number] = {n: frame.outputs[n] for n in order if n in frame.outputs}
        if failures := frame.progress.failures:
            first = run.records[failures[0] + frame.suffix]
            code, message = first.error_code or "step_failed", first.error_message
            block.failure = block.failure or Failed(code, f"{first.name}: {message}", is_final=True)
        elif block.is_repeated:
            self._judge_round(run, block, frame)
        self.go_on(run, block)

    def _judge_round(self, run: Run, block: BlockState, frame: Frame) -> None:
        until = run.plan.compiled.steps[block.record.step].repeat_until
        assert until is not None
        assert isinstance(block.step, SequentialStep)
        try:
            block.is_done = until.evaluate_condition(run.scope(frame, block.record))
        except ExpressionError as error:
            block.failure = Failed(error.code, f"repeat_until: {error}", is_final=True)
            return
        # Whoever took the run over has opened all its rounds, and judges them one by one.
        rounds = frame.number + 1
        if not block.is_done and rounds >= block.step.config.max_iterations:
            message = f"repeat_until did not hold after {rounds} rounds"
            block.failure = Failed("max_iterations", message, is_final=True)

    def _end(self, run: Run, block: BlockState) -> None:
        run.drop_block(block.record.name)
        outcome: Completed | Failed
        if block.failure:
            outcome = block.failure
        elif _is_short(block):
            outcome = Failed(
                "halted", "It was not finished: another step had failed", is_final=True
            )
        else:
            output = block.output()
            try:
                outcome = Completed(output, dump_result(output))
            except UnstorableError as error:
                outcome = Failed(error.code, str(error), is_final=True)
        self._moves.apply(run, block.record, outcome)

    def stop_late(self, run: Run) -> None:
        """End the blocks whose time is up, with all that is under way in them."""
        for name in [n for n, end in run.block_ends.items() if end <= self._now]:
            if block := run.blocks.get(name):
                message = f"The block took longer than its {block.step.timeout_seconds} seconds"
                self._stop(run, block)
                failure = Failed("timeout", message, is_final=True, is_timeout=True)
                self._moves.apply(run, block.record, failure)

    def _stop(self, run: Run, block: BlockState) -> None:
        frames = set(block.frames.values())
        inside = [
            record
            for record in run.records.values()
            if record.frame is not None and frames.intersection(record.frame.and_around())
        ]
        run.drop_block(block.record.name)
        self.stop(run, inside)

    def stop(self, run: Run, records: Iterable[StepRecord]) -> None:
        """Cancel those of a run's steps that are under way, or noted to be done anew."""
        asked: dict[GateHandler, list[UUID]] = {}
        for record in records:
            run.retrying.pop(record.name, None)
            run.deferred.pop(record.name, None)
            if record.status in TERMINAL_STEP_STATUSES or record.frame is None:
                continue
            if record.step not in record.place.progress.statuses and not record.is_stored:
                continue
            if record.status is StepStatus.RUNNING and run.drop_block(record.name) is None:
                run.running -= 1
                self.stopped.append((run.id, record.id, record.attempts))
            elif record.status is StepStatus.WAITING:
                gate = gate_of(run.step_of(record).step_type)
                asked.setdefault(gate, []).append(record.id)
            self._moves.stop(run, record)
        for gate, ids in asked.items():
            self._report.add(gate.withdraw(ids, self._now, SYSTEM))
        live = set(run.frames())
        run.stirred = {key: frame for key, frame in run.stirred.items() if frame in live}


def open_frames(run: Run, block: BlockState) -> None:
    """Open as many more frames of a block as may be open now."""
    while len(block.frames) < block.rounds_at_once and _has_more(block):
        open_frame(run, block)


def open_frame(run: Run, block: BlockState) -> Frame:
    """Open the next frame of a block, and put the records into it that there are already."""
    number = block.opened
    block.opened += 1
    around = block.record.place
    rules, is_fail_fast = run.plan.rules, around.progress.is_fail_fast
    progress = Progress(block.graph, rules, is_fail_fast=is_fail_fast)
    if isinstance(block.step, SequentialStep):
        in_turn = run.plan.compiled.in_turn
        progress = InTurn(block.graph, rules, is_fail_fast=is_fail_fast, only_in_turn=in_turn)
    progress.is_halted = block.is_halted
    frame = Frame(
        owner=block.record.name,
        suffix=around.suffix + (f"[{number}]" if block.is_numbered else ""),
        progress=progress,
        around=around,
        item=around.item if block.items is None else block.items[number],
        index=number if block.is_numbered else around.index,
        limit=block.steps_at_once,
        number=number,
    )
    block.frames[number] = frame
    run.attach(frame)
    run.stir(frame)
    return frame


def is_open_block(record: StepRecord) -> bool:
    """Tell whether a record is that of a block that has begun and not ended."""
    return record.step_type in ("parallel", "sequential") and record.status is StepStatus.RUNNING


def restore_blocks(run: Run, inputs: Mapping[UUID, str]) -> None:
    """Open the frames again that the rows of a run tell of.

    ``inputs``: the ``input_data`` of its open blocks, as JSON text.
    """
    begun, under_way = _count_rounds(run)
    frames = [run.top]
    while frames:
        frame = frames.pop()
        for step in frame.progress.graph.order:
            record = run.records.get(step + frame.suffix)
            if record is None or not is_open_block(record):
                continue
            definition = run.plan.compiled.steps[step].step
            assert isinstance(definition, ParallelStep | SequentialStep)
            data = json.loads(inputs[record.id]) if record.id in inputs else {}
            graph = run.plan.compiled.graphs[step]
            block = BlockState(record, definition, graph, data.get("for_each"))
            run.add_block(block)
            rounds = begun.get(record.name, 1)
            frames += _reopen(run, block, rounds, under_way.get(record.name, 0))
    halt_again(run)
    for block in run.blocks.values():
        block.is_halted = block.is_halted or is_halted_from_outside(run, block)
        open_frames(run, block)


def _count_rounds(run: Run) -> tuple[dict[str, int], dict[str, int]]:
    """Return up to which number rounds have begun, by the names of their blocks, and up to which
    one something in them is under way."""
    begun: dict[str, int] = {}
    under_way: dict[str, int] = {}
    for record in run.records.values():
        if record.parent and record.status is not StepStatus.PENDING:
            _, suffix = run.plan.place_of(record.name)
            number = int(suffix.rpartition("[")[2].rstrip("]")) if suffix else 0
            begun[record.parent] = max(begun.get(record.parent, 0), number + 1)
            if record.status not in TERMINAL_STEP_STATUSES:
                under_way[record.parent] = max(under_way.get(record.parent, 0), number + 1)
    return begun, under_way


def _reopen(run: Run, block: BlockState, begun: int, under_way: int) -> list[Frame]:
    """Open the rounds of a block that were open, and those that are over, which are judged one by
    one. What is to be done anew in a later round waits until it is that round's turn."""
    frames: list[Frame] = []
    unfinished = 0
    while block.opened < begun and (block.opened < under_way or unfinished < block.rounds_at_once):
        frames.append(open_frame(run, block))
        unfinished += not frames[-1].is_over
    return frames


def _has_more(block: BlockState) -> bool:
    if block.is_halted:
        return False
    if block.items is not None:
        goes_on = isinstance(block.step, ParallelStep) or block.failure is None
        return goes_on and block.opened < len(block.items)
    if block.is_repeated:
        return not block.opened or (block.failure is None and not block.is_done)
    return not block.opened


def _is_short(block: BlockState) -> bool:
    """Tell whether rounds are missing, because nothing new may start in the run."""
    if block.items is not None:
        return block.opened < len(block.items)
    return not block.opened or (block.is_repeated and not block.is_done)
