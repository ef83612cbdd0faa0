"""The moves of an execution: it goes on, waits, ends, or is given to another driver."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from workflows.core.errors import UnstorableError
from workflows.core.states import ExecutionStatus, StepStatus
from workflows.engine.inputs import dump_result
from workflows.engine.reports import Reporter
from workflows.engine.run import Run, StepRecord
from workflows.engine.step_moves import StepMoves
from workflows.engine.store import Release
from workflows.events import SYSTEM
from workflows.handlers import GateHandler, gate_of, gates


class RunMoves:
    """The moves of one turn.

    ``written``: every run that changed; ``left``: how this driver leaves those that are no
    longer its own; ``clocks``: those whose clock stands still now, or runs again.
    """

    def __init__(self, now: datetime, steps: StepMoves, report: Reporter) -> None:
        self.written: dict[UUID, Run] = {}
        self.left: dict[UUID, Release] = {}
        self.clocks: list[UUID] = []
        self._now = now
        self._steps = steps
        self._report = report

    def conclude(self, runs: Collection[Run], *, is_draining: bool) -> None:
        """Say where runs stand after their steps have moved, and leave those that only wait."""
        over = self.left.keys() | self._report.cancelled
        kept = [run for run in runs if run.id not in over]
        _note_who_waits_for_people([run for run in kept if run.is_idle and not run.is_paused])
        for run in kept:
            stood_still = run.stands_still
            self._conclude(run, is_draining=is_draining)
            if run.stands_still is not stood_still:
                self.clocks.append(run.id)

    def _conclude(self, run: Run, *, is_draining: bool) -> None:
        if run.is_paused:
            self._pause(run)
        elif run.top.is_over:
            self._finish(run)
        elif is_draining and not run.running:
            self.hand_back(run)
        elif run.is_idle:
            self._set_clock(run)
            self._become(run, ExecutionStatus.WAITING)
            self.left[run.id] = Release(wake_at=run.next_look())
        else:
            self._set_clock(run)
            self._become(run, ExecutionStatus.RUNNING)

    def _pause(self, run: Run) -> None:
        """Let the run stand still; what is running may still report back."""
        self._stop_clock(run)
        if run.is_idle:
            self.left[run.id] = Release()
        self._become(run, ExecutionStatus.PAUSED)

    def _finish(self, run: Run) -> None:
        outputs = run.top.outputs
        output = {n: outputs[n] for n in run.plan.compiled.graph.leaves if n in outputs}
        release = Release(completed_at=self._now)
        try:
            release.output = dump_result(output)
        except UnstorableError as error:
            release.error_code, release.error_message = error.code, str(error)
        if failures := run.top.progress.failures:
            first = run.records[failures[0]]
            release.error_code = first.error_code or "step_failed"
            release.error_message = f"{first.name}: {first.error_message}"
        has_failed = bool(release.error_code)
        status = ExecutionStatus.FAILED if has_failed else ExecutionStatus.COMPLETED
        self._leave(run, status, release)

    def time_out(self, run: Run) -> None:
        """End a run whose own time is up, whatever its steps are doing."""
        for record in run.records.values():
            if record.completed_at is None:
                self._steps.settle_later(run, record, None)
                record.completed_at = self._now
                record.status = StepStatus.CANCELLED
                self._steps.written[record.id] = (run.id, record)
        for gate in gates():
            self._report.add(gate.cancel([run.id], self._now, SYSTEM))
        message = f"The execution ran longer than its {run.timeout_seconds} seconds"
        release = Release(
            error_code="execution_timeout", error_message=message, completed_at=self._now
        )
        self._leave(run, ExecutionStatus.TIMEOUT, release)

    def _leave(self, run: Run, status: ExecutionStatus, release: Release) -> None:
        self._stop_clock(run)
        self._become(run, status)
        self.left[run.id] = release
        self._report.run_ended(run, release)

    def _set_clock(self, run: Run) -> None:
        """Let the run's time pass, unless only people are awaited."""
        if not run.waits_only_for_people:
            run.active_since = run.active_since or self._now
        else:
            self._stop_clock(run)

    def _stop_clock(self, run: Run) -> None:
        if run.active_since is not None:
            run.active_seconds += (self._now - run.active_since).total_seconds()
            run.active_since = None

    def _become(self, run: Run, status: ExecutionStatus) -> None:
        if run.status is not status:
            run.status = status
            self.written[run.id] = run
        if run.id in self.left or run.is_idle:
            self.written[run.id] = run

    def hand_back(self, run: Run) -> None:
        """Give a run up in the middle: its running attempts go to another driver, uncharged."""
        for record in run.records.values():
            if record.status is StepStatus.RUNNING and record.name not in run.blocks:
                self._steps.settle_later(run, record, None)
                record.attempts -= 1
                self._steps.move(run, record, StepStatus.RETRYING)
                record.due_at = self._now
        self.written[run.id] = run
        self.left[run.id] = Release(wake_at=self._now)


def open_gates(runs: Iterable[Run]) -> dict[GateHandler, dict[UUID, tuple[Run, StepRecord]]]:
    """Return the steps of runs that wait, by the gate that they are at and their ids."""
    found: dict[GateHandler, dict[UUID, tuple[Run, StepRecord]]] = {}
    for run in runs:
        for name in run.waiting:
            record = run.records[name]
            gate = gate_of(run.step_of(record).step_type)
            found.setdefault(gate, {})[record.id] = (run, record)
    return found


def _note_who_waits_for_people(runs: Collection[Run]) -> None:
    for run in runs:
        run.for_people.intersection_update(run.deferred)
    for gate, steps in open_gates(runs).items():
        for step_execution_id in gate.waits_for_people(list(steps)):
            run, record = steps[step_execution_id]
            run.for_people.add(record.name)
