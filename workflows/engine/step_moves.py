"""The moves of a step, and what each of them leaves to be written.

Whatever happens to a step goes through here: its record, its run's progress and its event change
together.
"""

import random
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from workflows.core.outcomes import Completed, Failed, Outcome, Skipped, Waiting
from workflows.core.states import SkipReason, StepStatus
from workflows.dialects import RawJson
from workflows.engine.inputs import dump_json
from workflows.engine.reports import Reporter
from workflows.engine.run import Run, StepRecord
from workflows.handlers import ReservingHandler, plugs

_jitter = random.Random()  # noqa: S311  (spreads retries, guards nothing)


class StepMoves:
    """The moves of one turn. ``written``: (execution, step) of every record that changed."""

    def __init__(self, now: datetime, report: Reporter) -> None:
        self.written: dict[UUID, tuple[UUID, StepRecord]] = {}
        self._now = now
        self._report = report
        self._to_settle: dict[ReservingHandler, list[tuple[UUID, int, Outcome | None]]] = {}

    def apply(self, run: Run, record: StepRecord, outcome: Outcome) -> None:
        """Carry out what an attempt or a gate came to."""
        self.settle_later(record, outcome)
        run.waiting.discard(record.name)
        match outcome:
            case Completed():
                record.output_data = RawJson(outcome.text or dump_json(outcome.output))
                record.error_code = record.error_message = ""
                if record.name in run.plan.kept:
                    run.outputs[record.name] = outcome.output
                self._end(run, record, StepStatus.COMPLETED)
            case Skipped():
                self.skip(run, record, outcome.reason)
            case Failed():
                self._fail(run, record, outcome)
            case Waiting():
                self.move(run, record, StepStatus.WAITING)

    def _fail(self, run: Run, record: StepRecord, failure: Failed) -> None:
        record.error_code = failure.code
        record.error_message = failure.message
        policy = run.plan.policies[record.name]
        charged = record.attempts - record.crashes
        if not failure.is_final and policy.allows(charged, failure.code):
            delay = policy.delay(max(charged, 1), _jitter)
            record.due_at = self._now + timedelta(seconds=delay)
            run.retrying[record.name] = record.due_at
            self.move(run, record, StepStatus.RETRYING)
            self._report.retrying(run, record, delay)
            return
        self._end(run, record, StepStatus.TIMEOUT if failure.is_timeout else StepStatus.FAILED)

    def lose(self, run: Run, record: StepRecord) -> None:
        """The worker of a running attempt died: try again, but not for ever."""
        record.crashes += 1
        self.settle_later(record, None)
        record.error_code = "worker_lost"
        record.error_message = f"The worker died during attempt {record.attempts}"
        if record.crashes >= settings.MGX_MAX_CRASHES:
            self._end(run, record, StepStatus.FAILED)
            return
        record.due_at = self._now
        run.retrying[record.name] = self._now
        self.move(run, record, StepStatus.RETRYING)
        self._report.retrying(run, record, 0)

    def skip(self, run: Run, record: StepRecord, reason: SkipReason) -> None:
        """End a step that never runs."""
        record.skip_reason = reason.value
        self._end(run, record, StepStatus.SKIPPED)

    def _end(self, run: Run, record: StepRecord, status: StepStatus) -> None:
        record.completed_at = self._now
        record.due_at = None
        is_tolerated = run.plan.compiled.steps[record.name].step.config.continue_on_error
        self.move(run, record, status, is_tolerated=is_tolerated)
        if run.ended is not None:
            run.ended.append(record.name)
        self._report.ended(run, record)

    def move(
        self, run: Run, record: StepRecord, status: StepStatus, *, is_tolerated: bool = False
    ) -> None:
        """Set a step's status; ``is_tolerated``: the run goes on if it failed."""
        record.status = status
        run.progress.record(
            record.name, status, skip_reason=record.skip_reason, is_tolerated=is_tolerated
        )
        if status is StepStatus.WAITING:
            run.waiting.add(record.name)
        self.written[record.id] = (run.id, record)

    def settle_later(self, record: StepRecord, outcome: Outcome | None) -> None:
        """Note that a running attempt is over; None: it was abandoned."""
        handler = plugs()[record.step_type].reserving
        if handler and record.status is StepStatus.RUNNING:
            self._to_settle.setdefault(handler, []).append((record.id, record.attempts, outcome))

    def abandon(self, record: StepRecord, attempt: int) -> None:
        """Note that nobody will hear of an attempt any more, whatever its step is doing."""
        if handler := plugs()[record.step_type].reserving:
            self._to_settle.setdefault(handler, []).append((record.id, attempt, None))

    def settle(self) -> None:
        """Let handlers take back what attempts held that are over."""
        over, self._to_settle = self._to_settle, {}
        for handler, attempts in over.items():
            self._report.add(handler.settle(attempts, self._now))
