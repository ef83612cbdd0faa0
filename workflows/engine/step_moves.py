"""The moves of a step, and what each of them leaves to be written.

Whatever happens to a step goes through here: its record, its run's progress and its event change
together.
"""

import random
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from workflows.core.errors import UnstorableError
from workflows.core.outcomes import Asks, Completed, Failed, Outcome, Revise, Skipped, Waiting
from workflows.core.states import SkipReason, StepStatus
from workflows.core.steps import choices_of
from workflows.dialects import RawJson
from workflows.engine.halting import halt
from workflows.engine.inputs import dump_json
from workflows.engine.reports import Reporter
from workflows.engine.run import Run, StepRecord
from workflows.handlers import Ended, ReservingHandler, plugs

_jitter = random.Random()  # noqa: S311  (spreads retries, guards nothing)


class StepMoves:
    """The moves of one turn. ``written``: (execution, step) of every record that changed."""

    def __init__(self, now: datetime, report: Reporter) -> None:
        self.written: dict[UUID, tuple[UUID, StepRecord]] = {}
        self._now = now
        self._report = report
        self._to_settle: dict[ReservingHandler, list[Ended]] = {}
        self._heard: dict[ReservingHandler, list[UUID]] = {}
        self._asking: list[tuple[Run, StepRecord, Asks]] = []

    def apply(self, run: Run, record: StepRecord, outcome: Outcome, notes: object = None) -> None:
        """Carry out what an attempt or a gate came to; what it sends back, ``Revisions`` does."""
        self.settle_later(run, record, outcome, notes)
        if record.step_type == "approval":
            _choose(run, record, outcome)
        match outcome:
            case Completed() | Revise():
                record.error_code = record.error_message = ""
                self._complete(run, record, outcome.output, outcome.text)
            case Skipped():
                self.skip(run, record, outcome.reason)
            case Failed():
                self._fail(run, record, outcome)
            case Waiting():
                self.move(run, record, StepStatus.WAITING)
            case Asks():
                record.pauses += 1
                self.move(run, record, StepStatus.WAITING)
                self._asking.append((run, record, outcome))

    def take_asking(self) -> list[tuple[Run, StepRecord, Asks]]:
        """Return the steps that have begun to wait for people, who are not asked yet."""
        asking, self._asking = self._asking, []
        return asking

    def go_on_with(self, run: Run, record: StepRecord, answer: object) -> None:
        """Let a step that asked people go on with what they answered."""
        record.answer = answer
        self._go_on_at_once(run, record)

    def _complete(
        self, run: Run, record: StepRecord, output: object, text: str | None = None
    ) -> None:
        record.output_data = RawJson(text or dump_json(output))
        if record.step in run.plan.kept:
            record.place.outputs[record.step] = output
        self._end(run, record, StepStatus.COMPLETED)

    def _fail(self, run: Run, record: StepRecord, failure: Failed) -> None:
        record.error_code = failure.code
        record.error_message = failure.message
        if failure.elsewhere:
            record.failovers += 1
            self._go_on_at_once(run, record)
            return
        policy = run.plan.policies[record.step]
        charged = record.attempts - record.crashes - record.failovers - record.pauses
        if record.is_fallback:
            self._end(run, record, StepStatus.TIMEOUT if failure.is_timeout else StepStatus.FAILED)
            return
        if not failure.is_final and policy.allows(charged, failure.code):
            delay = policy.delay(max(charged, 1), _jitter)
            record.due_at = self._now + timedelta(seconds=delay)
            run.retrying[record.name] = record.due_at
            self.move(run, record, StepStatus.RETRYING)
            self._report.retrying(run, record, delay)
            return
        if not self._fall_back(run, record):
            self._end(run, record, StepStatus.TIMEOUT if failure.is_timeout else StepStatus.FAILED)

    def _fall_back(self, run: Run, record: StepRecord) -> bool:
        """Let the step's fallback take its place, if it has one; the error stays to be read."""
        fallback = run.plan.compiled.steps[record.step].step.config.fallback
        if fallback is None:
            return False
        record.is_fallback = True
        if record.step not in run.plan.fallbacks:
            try:
                text = dump_json(fallback.output)
            except UnstorableError as error:
                message = f"The output of its fallback cannot be kept: {error}"
                self._fail(run, record, Failed(error.code, message, is_final=True))
            else:
                self._complete(run, record, fallback.output, text)
            return True
        self._go_on_at_once(run, record)
        self._report.retrying(run, record, 0)
        return True

    def keep(self, run: Run, record: StepRecord) -> None:
        """Nobody else is left to take over: what failed elsewhere has failed like any attempt."""
        record.attempts -= 1
        record.failovers -= 1
        code, message = record.error_code, record.error_message
        self._fail(run, record, Failed(code, message, is_timeout=code == "timeout"))

    def _go_on_at_once(self, run: Run, record: StepRecord) -> None:
        record.due_at = run.retrying[record.name] = self._now
        self.move(run, record, StepStatus.RETRYING)

    def lose(self, run: Run, record: StepRecord) -> None:
        """The worker of a running attempt died: try again, but not for ever."""
        record.crashes += 1
        self.settle_later(run, record, None)
        record.error_code = "worker_lost"
        record.error_message = f"The worker died during attempt {record.attempts}"
        if record.crashes >= settings.MGX_MAX_CRASHES:
            self._end(run, record, StepStatus.FAILED)
            return
        self._go_on_at_once(run, record)
        self._report.retrying(run, record, 0)

    def skip(self, run: Run, record: StepRecord, reason: SkipReason) -> None:
        """End a step that never runs."""
        record.skip_reason = reason.value
        self._end(run, record, StepStatus.SKIPPED)

    def _end(self, run: Run, record: StepRecord, status: StepStatus) -> None:
        record.completed_at = self._now
        record.due_at = None
        is_tolerated = run.plan.compiled.steps[record.step].step.config.continue_on_error
        self.move(run, record, status, is_tolerated=is_tolerated)
        frame = record.place
        if status is not StepStatus.COMPLETED:
            frame.outputs.pop(record.step, None)  # what an earlier revision made
        if frame.ended is not None:
            frame.ended.append(record.step)
        run.stir(frame)
        if frame.progress.is_fail_fast and frame.progress.failures:
            halt(run, frame)
        self._report.ended(run, record)

    def stop(self, run: Run, record: StepRecord) -> None:
        """Cancel a step whose block is over."""
        self.settle_later(run, record, None)
        record.completed_at = self._now
        record.due_at = None
        self.move(run, record, StepStatus.CANCELLED)

    def move(
        self, run: Run, record: StepRecord, status: StepStatus, *, is_tolerated: bool = False
    ) -> None:
        """Set a step's status; ``is_tolerated``: the run goes on if it failed."""
        record.status = status
        record.place.progress.record(
            record.step, status, skip_reason=record.skip_reason, is_tolerated=is_tolerated
        )
        if status is StepStatus.WAITING:
            run.waiting.add(record.name)
        else:
            run.waiting.discard(record.name)
            run.due.pop(record.name, None)
        self.written[record.id] = (run.id, record)

    def settle_later(
        self, run: Run, record: StepRecord, outcome: Outcome | None, notes: object = None
    ) -> None:
        """Note that a running attempt is over; None: it was abandoned."""
        if record.status is StepStatus.RUNNING:
            self._note(run, record, Ended(record.id, record.attempts, outcome, notes))

    def abandon(self, run: Run, record: StepRecord, attempt: int) -> None:
        """Note that an attempt is over, whatever its step is doing."""
        self._note(run, record, Ended(record.id, attempt, None))

    def _note(self, run: Run, record: StepRecord, ended: Ended) -> None:
        if handler := plugs()[run.step_of(record).step_type].reserving:
            self._to_settle.setdefault(handler, []).append(ended)

    def hear(self, run: Run, record: StepRecord) -> None:
        """Note that the attempt of a step has said how far it is."""
        if handler := plugs()[run.step_of(record).step_type].reserving:
            self._heard.setdefault(handler, []).append(record.id)

    def settle(self) -> None:
        """Let handlers take back what attempts held that are over, and hear of those that go on."""
        heard, self._heard = self._heard, {}
        for handler, ids in heard.items():
            self._report.add(handler.heard(ids, self._now))
        over, self._to_settle = self._to_settle, {}
        for handler, attempts in over.items():
            self._report.add(handler.settle(attempts, self._now))


def _choose(run: Run, record: StepRecord, outcome: Outcome) -> None:
    """Rule out the steps behind a gate that do not follow from what it came to."""
    branches = choices_of(run.step_of(record))
    progress = record.place.progress
    match outcome:
        case Failed():
            # So that a retry of the gate may lead to them.
            progress.rule_out(branches, SkipReason.UPSTREAM_FAILED)
        case Completed(goes_to=""):
            progress.rule_out(branches)
        case Completed():
            progress.go_to(record.step, outcome.goes_to)
