"""An execution as the driver that owns it knows it.

It is a copy of rows that nobody else writes while the driver owns the execution; when a
transaction fails it is thrown away and read again.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.core.ids import step_execution_id
from workflows.core.revisions import rows_of_today
from workflows.core.scope import ABSENT, Scope
from workflows.core.states import TERMINAL_STEP_STATUSES, ExecutionStatus, StepStatus
from workflows.core.steps import AnyStep
from workflows.dialects import RawJson
from workflows.engine.frames import BlockState, Frame
from workflows.engine.plan import Plan
from workflows.handlers import StepContext

#: An attempt: execution, step in its revision, number.
Attempt = tuple[UUID, UUID, int]


@dataclass(slots=True)
class StepRecord:
    """A row of ``WorkflowStepExecution``, once it ``is_stored``; JSON columns are text.

    ``frame`` is what it stands in, and ``step`` its name there, which is that in the definition.
    ``output``: what was read of it before it had a frame. ``previous_id``: the last revision
    before it that completed, and ``previous`` what that made, if it was read. ``answer``: what
    people answered to what it asked, likewise.
    """

    id: UUID
    name: str
    step_type: str
    parent: str = ""
    revision: int = 1
    feedback: str = ""
    revised_at: datetime | None = None
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    crashes: int = 0
    failovers: int = 0
    pauses: int = 0
    input_data: RawJson | None = None
    output_data: RawJson | None = None
    error_code: str = ""
    error_message: str = ""
    skip_reason: str = ""
    agent_instance_id: UUID | None = None
    is_fallback: bool = False
    due_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    is_stored: bool = False
    frame: Frame | None = None
    step: str = ""
    output: Any = ABSENT
    previous_id: UUID | None = None
    previous: Any = None
    answer: Any = ABSENT

    @property
    def last_result_id(self) -> UUID | None:
        """The latest revision, this one or one before it, that completed."""
        return self.id if self.status is StepStatus.COMPLETED else self.previous_id

    @property
    def last_result(self) -> Any:
        """What that revision made; ABSENT if it was not read."""
        if self.status is not StepStatus.COMPLETED:
            return self.previous
        return ABSENT if self.output_data is None else json.loads(self.output_data)

    def read_last_result(self, text: str) -> None:
        """Take in what that revision made, as JSON text."""
        if self.status is StepStatus.COMPLETED:
            self.output_data = RawJson(text)
        else:
            self.previous = json.loads(text)

    @property
    def place(self) -> Frame:
        """The frame of a record that is attached to one."""
        assert self.frame is not None
        return self.frame


@dataclass(slots=True)
class Run:
    """One execution in the hands of this driver.

    ``top`` are the steps at the top; ``blocks`` those blocks that have begun and not ended, by the
    names of their rows; ``stirred`` the frames that the planner has to look at. ``running`` counts
    the bodies that have not reported back. ``waiting`` are the open gates, ``deferred`` the steps
    that wait their turn for an agent, with when to ask again, ``for_people`` those of both that
    wait for what people have been asked, here or elsewhere: of gates noted when a run is left.
    ``due`` are the gates that want to be asked at a moment;
    ``block_ends`` the blocks whose time will be up. ``earlier`` are the latest revisions of steps
    in blocks that are done anew and have not come to them again. ``more_since``: since when more
    might have begun than turns have had room for.
    """

    id: UUID
    workspace_id: UUID
    project_id: UUID | None
    workflow_id: UUID
    workflow_name: str
    number: int
    started_by_id: int | None
    started_by: str
    status: ExecutionStatus
    variables: dict[str, Any]
    timeout_seconds: int
    active_seconds: float
    active_since: datetime | None
    started_at: datetime | None
    plan: Plan
    top: Frame
    is_paused: bool = False
    parent_step_id: UUID | None = None
    depth: int = 0
    records: dict[str, StepRecord] = field(default_factory=dict)
    blocks: dict[str, BlockState] = field(default_factory=dict)
    stirred: dict[int, Frame] = field(default_factory=dict)
    running: int = 0
    waiting: set[str] = field(default_factory=set)
    retrying: dict[str, datetime] = field(default_factory=dict)
    deferred: dict[str, datetime] = field(default_factory=dict)
    for_people: set[str] = field(default_factory=set)
    due: dict[str, datetime] = field(default_factory=dict)
    block_ends: dict[str, datetime] = field(default_factory=dict)
    earlier: dict[str, StepRecord] = field(default_factory=dict)
    more_since: datetime | None = None

    def record(self, frame: Frame, step: str) -> StepRecord:
        """Return the record of a step in a frame, a fresh one if it has not moved yet."""
        name = step + frame.suffix
        known = self.records.get(name)
        if known is None:
            block = self.records[frame.owner] if frame.owner else None
            known = self.renew(
                frame,
                step,
                feedback=block.feedback if block else "",
                revised_at=block.revised_at if block else None,
            )
        known.frame, known.step = frame, step
        return known

    def latest(self, name: str) -> StepRecord:
        """Return the record of a step's latest revision, also of one of an earlier time."""
        return self.records.get(name) or self.earlier[name]

    def renew(
        self, frame: Frame, step: str, *, feedback: str, revised_at: datetime | None
    ) -> StepRecord:
        """Return the record of the next revision of a step, of the first if it has not moved."""
        name = step + frame.suffix
        before = self.records.get(name) or self.earlier.pop(name, None)
        # One that has not been written was never seen: its number is still free.
        revision = before.revision + before.is_stored if before else 1
        record = self.records[name] = StepRecord(
            id=step_execution_id(self.id, name, revision),
            name=name,
            step_type=self.plan.compiled.steps[step].step.step_type,
            parent=frame.owner,
            revision=revision,
            feedback=feedback,
            revised_at=revised_at,
            frame=frame,
            step=step,
            previous_id=before.last_result_id if before else None,
            previous=before.last_result if before else None,
        )
        return record

    def set_aside_earlier(self) -> None:
        """Keep what stands in blocks that are done anew apart from what they come to now."""
        today = rows_of_today(self.records)
        self.earlier |= {name: r for name, r in self.records.items() if name not in today}
        self.records = today

    def lacking_results(self) -> Iterator[StepRecord]:
        """Yield the records whose last result may be asked for, and was not read."""
        for record in self.records.values():
            if record.previous is ABSENT and record.status not in TERMINAL_STEP_STATUSES:
                yield record
        for record in self.earlier.values():
            if record.last_result is ABSENT and self._may_come_again(record):
                yield record

    def _may_come_again(self, record: StepRecord) -> bool:
        """Tell whether the block has not ended in which a step of an earlier time stands."""
        around = record.parent
        while around in self.earlier:
            around = self.earlier[around].parent
        return self.records[around].status not in TERMINAL_STEP_STATUSES

    def attach(self, frame: Frame, leave_out: Collection[str] = ()) -> None:
        """Put the records into a frame that belong to its steps, with what they came to.

        ``leave_out``: steps that stay as if they had not moved.
        """
        for step in frame.progress.graph.order:
            record = self.records.get(step + frame.suffix)
            if record is None:
                continue
            record.frame, record.step = frame, step
            is_over = record.status in TERMINAL_STEP_STATUSES
            if record.previous_id and not is_over and step in self.plan.kept:
                frame.outputs[step] = record.previous
            if record.status is StepStatus.PENDING or step in leave_out:
                continue
            config = self.plan.compiled.steps[step].step.config
            frame.progress.record(
                step,
                record.status,
                skip_reason=record.skip_reason,
                is_tolerated=config.continue_on_error,
            )
            if record.output is not ABSENT:
                frame.outputs[step] = record.output
                record.output = ABSENT
            if record.status is StepStatus.WAITING:
                self.waiting.add(record.name)
                if record.due_at:
                    self.due[record.name] = record.due_at
            elif record.name in self.deferred:
                continue  # its turn is to come already
            elif record.status is StepStatus.RETRYING and record.due_at:
                self.retrying[record.name] = record.due_at

    def add_block(self, block: BlockState) -> None:
        """Take in a block that has begun."""
        self.blocks[block.record.name] = block
        if block.deadline:
            self.block_ends[block.record.name] = block.deadline

    def drop_block(self, name: str) -> BlockState | None:
        """Forget a block that is over; return it, if ``name`` was one."""
        self.block_ends.pop(name, None)
        return self.blocks.pop(name, None)

    def stir(self, frame: Frame) -> None:
        """Have the planner look at a frame."""
        self.stirred[id(frame)] = frame

    def frames(self) -> Iterator[Frame]:
        """Yield the frames whose steps may still move, the top first."""
        yield self.top
        for block in self.blocks.values():
            yield from block.frames.values()

    def step_of(self, record: StepRecord) -> AnyStep:
        """Return what a record runs: its own step, or its fallback."""
        # One of an earlier time stands in no frame.
        name = record.step or self.plan.place_of(record.name)[0]
        if record.is_fallback and name in self.plan.fallbacks:
            return self.plan.fallbacks[name]
        return self.plan.compiled.steps[name].step

    def scope(self, frame: Frame, record: StepRecord) -> Scope:
        """Return what the references of a step see, with the outputs that a frame's steps see."""
        return Scope(
            variables=self.variables,
            steps=frame.visible,
            execution={"id": str(self.id), "started_by": self.started_by},
            revision={
                "number": record.revision,
                "feedback": record.feedback,
                "previous": record.previous,
            },
            item=frame.item,
            index=frame.index,
        )

    def is_current(self, record: StepRecord, attempt: Attempt) -> bool:
        """Tell whether an attempt is the one of the step that is under way."""
        is_running = record.status is StepStatus.RUNNING
        return is_running and (self.id, record.id, record.attempts) == attempt

    def context(self, record: StepRecord, inputs: dict[str, Any]) -> StepContext:
        """Return what the handler of a step is told."""
        return StepContext(
            step_execution_id=record.id,
            execution_id=self.id,
            workflow_id=self.workflow_id,
            workspace_id=self.workspace_id,
            project_id=self.project_id,
            workflow_name=self.workflow_name,
            run_number=self.number,
            started_by_id=self.started_by_id,
            name=record.name,
            step=self.step_of(record),
            attempt=record.attempts,
            revision=record.revision,
            inputs=inputs,
            depth=self.depth,
            revised_at=record.revised_at,
            feedback=record.feedback,
            previous=record.previous,
        )

    def needed_outputs(self) -> list[StepRecord]:
        """Return the completed steps whose outputs somebody may still ask for."""
        compiled = self.plan.compiled
        needed = set(compiled.graph.leaves)
        for name, names in self.plan.needs.items():
            # Inside a block a step may begin once more, in another round.
            is_done = not compiled.blocks[name] and self.top.progress.statuses.get(name)
            if is_done not in _HAS_ITS_INPUT:
                needed |= names
        ended = {r.name for r in self.records.values() if r.status in TERMINAL_STEP_STATUSES}
        return [
            record
            for record in self.records.values()
            if record.status is StepStatus.COMPLETED
            and (record.parent not in ended if record.parent else record.name in needed)
        ]

    def ready_since(self, name: str) -> datetime:
        """Return when a step that has not begun its next attempt could have."""
        record = self.records[name]
        suffix = record.place.suffix
        before = (
            self.records.get(n + suffix)
            for n in record.place.progress.graph.predecessors[record.step]
        )
        ends = [r.completed_at for r in before if r]
        known = (self.started_at, record.due_at, record.revised_at, *ends)
        return max(moment for moment in known if moment)

    def deadline(self) -> datetime | None:
        """Return when the execution's own time is up; None while its clock stands still."""
        if self.active_since is None:
            return None
        return self.active_since + timedelta(seconds=self.timeout_seconds - self.active_seconds)

    def next_look(self) -> datetime | None:
        """Return when the run wants to be looked at even if nothing happens."""
        if self.is_paused:
            return None
        moments = [*self.retrying.values(), *self.deferred.values(), *self.due.values()]
        moments += self.block_ends.values()
        if deadline := self.deadline():
            moments.append(deadline)
        if self.more_since:
            moments.append(self.more_since)
        return min(moments, default=None)

    @property
    def is_idle(self) -> bool:
        """Whether no step of it is running, or could be now."""
        return not self.running and not self.more_since

    def has_more(self, now: datetime) -> bool:
        """Tell whether something is left to be planned, or to be begun, at this moment."""
        due = (*self.retrying.values(), *self.deferred.values())
        return bool(self.stirred) or any(moment <= now for moment in due)

    @property
    def waits_only_for_people(self) -> bool:
        """Whether nothing is left to happen now but that people decide, here or elsewhere."""
        others = (self.deferred.keys() | self.waiting) - self.for_people
        return self.is_idle and not self.retrying and not others

    @property
    def stands_still(self) -> bool:
        """Whether its clock does, for whoever waits for the run."""
        is_left = self.status in (ExecutionStatus.WAITING, ExecutionStatus.PAUSED)
        return is_left and self.active_since is None


_HAS_ITS_INPUT = TERMINAL_STEP_STATUSES | {StepStatus.WAITING}
