"""What the engine says happened: the events of a turn, in words for people."""

from collections.abc import Iterable
from uuid import UUID

from workflows.core.states import ExecutionStatus, StepStatus
from workflows.engine.progress import Told
from workflows.engine.run import Run, StepRecord
from workflows.engine.store import Claimed, LateStep, Release
from workflows.events import PROGRESS, EventDraft, EventType
from workflows.handlers import Prepared

_STEP_ENDED = {
    StepStatus.COMPLETED: (EventType.STEP_COMPLETED, "{name} completed"),
    StepStatus.FAILED: (EventType.STEP_FAILED, "{name} failed: {error}"),
    StepStatus.TIMEOUT: (EventType.STEP_FAILED, "{name} ran out of time"),
    StepStatus.SKIPPED: (EventType.STEP_SKIPPED, "{name} was skipped: {reason}"),
}
_RUN_ENDED = {
    ExecutionStatus.COMPLETED: (EventType.WORKFLOW_COMPLETED, "completed"),
    ExecutionStatus.FAILED: (EventType.WORKFLOW_FAILED, "failed"),
    ExecutionStatus.TIMEOUT: (EventType.WORKFLOW_FAILED, "ran out of time"),
}
#: What is told with the row of a step, and of nothing that is not written.
_OF_ROWS = {
    EventType.STEP_STARTED,
    EventType.STEP_RETRYING,
    *(event_type for event_type, _ in _STEP_ENDED.values()),
}


class Reporter:
    """Collects the events of one turn.

    ``cancelled``: the runs that a handler has ended, with what it was told to withdraw. Their rows
    are written, and the turn writes nothing else of them.
    """

    __slots__ = ("cancelled", "events")

    def __init__(self) -> None:
        self.events: list[EventDraft] = []
        self.cancelled: set[UUID | None] = set()

    def add(self, drafts: Iterable[EventDraft]) -> None:
        """Add the events of a handler."""
        for draft in drafts:
            self.events.append(draft)
            if draft.event_type == EventType.WORKFLOW_CANCELLED:
                self.cancelled.add(draft.workflow_execution_id)

    @property
    def of_what_is_written(self) -> list[EventDraft]:
        """The events, but those of what the steps came to of runs that were then cancelled."""
        return [
            draft
            for draft in self.events
            if draft.event_type not in _OF_ROWS or draft.workflow_execution_id not in self.cancelled
        ]

    def started(self, run: Run, record: StepRecord, agent_name: str = "") -> None:
        data = _of_step(record)
        if agent_name:
            data["agent"] = agent_name
        by = f" on {agent_name}" if agent_name else ""
        self._step(EventType.STEP_STARTED, run, record, data, f"{record.name} started{by}")

    def ended(self, run: Run, record: StepRecord) -> None:
        event_type, words = _STEP_ENDED[record.status]
        data = _of_step(record)
        if record.error_code:
            data["error_code"] = record.error_code
        if record.skip_reason:
            data["skip_reason"] = record.skip_reason
        if record.is_fallback:
            data["is_fallback"] = True
        message = words.format(
            name=record.name,
            error=record.error_message,
            reason=record.skip_reason.replace("_", " "),
        )
        self._step(event_type, run, record, data, message)

    def retrying(self, run: Run, record: StepRecord, delay: float) -> None:
        data: dict[str, object] = {
            "step": record.name,
            "attempt": record.attempts,
            "error_code": record.error_code,
            "error_message": record.error_message,
            "delay_seconds": round(delay, 3),
        }
        message = f"{record.name} failed and is tried again: {record.error_message}"
        self._step(EventType.STEP_RETRYING, run, record, data, message)

    def taken_over(self, run: Run, record: StepRecord, by: Prepared) -> None:
        """The agent in ``record`` failed, and the attempt that begins is another one's."""
        data: dict[str, object] = {
            "step": record.name,
            "attempt": record.attempts - 1,
            "error_code": record.error_code,
            "error_message": record.error_message,
            "delay_seconds": 0,
            "agent": by.takes_over_from,
            "taken_over_by": by.agent_name,
        }
        message = (
            f"{by.takes_over_from} failed at {record.name}, {by.agent_name} takes over: "
            f"{record.error_message}"
        )
        self._step(EventType.STEP_RETRYING, run, record, data, message)

    def told(self, run: Run, record: StepRecord, told: Told) -> None:
        """An attempt says how far it is."""
        is_agent = record.agent_instance_id is not None
        event_type = EventType.AGENT_ACTIVITY if is_agent else EventType.STEP_PROGRESS
        data = {**told.data, "activity": PROGRESS, **_of_step(record)}
        self._step(event_type, run, record, data, f"{record.name}: {told.message}")

    def refused(self, step: LateStep, attempt: int) -> None:
        """A result came of an attempt that does not count any more."""
        self.events.append(
            EventDraft(
                event_type=EventType.STEP_RESULT_REFUSED,
                workspace_id=step.workspace_id,
                workflow_id=step.workflow_id,
                workflow_execution_id=step.execution_id,
                workflow_step_id=step.id,
                agent_id=step.agent_instance_id,
                data={"step": step.name, "attempt": attempt},
                message=f"A late result of {step.name}, attempt {attempt}, was refused",
            )
        )

    def run_ended(self, run: Run, release: Release) -> None:
        event_type, words = _RUN_ENDED[run.status]
        data: dict[str, object] = {"number": run.number}
        if release.error_code:
            data["error_code"] = release.error_code
            data["error_message"] = release.error_message
        self.events.append(
            EventDraft(
                event_type=event_type,
                workspace_id=run.workspace_id,
                workflow_id=run.workflow_id,
                workflow_execution_id=run.id,
                data=data,
                message=f"{run.workflow_name}, run {run.number}, {words}",
            )
        )

    def broken(self, row: Claimed, code: str) -> None:
        self.events.append(
            EventDraft(
                event_type=EventType.WORKFLOW_FAILED,
                workspace_id=row.workspace_id,
                workflow_id=row.workflow_id,
                workflow_execution_id=row.id,
                data={"number": row.number, "error_code": code},
                message=f"Run {row.number} cannot go on here",
            )
        )

    def _step(
        self,
        event_type: EventType,
        run: Run,
        record: StepRecord,
        data: dict[str, object],
        message: str,
    ) -> None:
        self.events.append(
            EventDraft(
                event_type=event_type,
                workspace_id=run.workspace_id,
                workflow_id=run.workflow_id,
                workflow_execution_id=run.id,
                workflow_step_id=record.id,
                agent_id=record.agent_instance_id,
                data=data,
                message=message,
            )
        )


def _of_step(record: StepRecord) -> dict[str, object]:
    data: dict[str, object] = {"step": record.name, "attempt": record.attempts}
    if record.revision > 1:
        data["revision"] = record.revision
    return data
