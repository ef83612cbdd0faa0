"""How many steps run at once in a workspace, and in each of its queues.

The limits of a workspace are locked while a turn counts against them, so that all drivers
together never exceed them. Nothing has to be given back: a slot counts while its step runs.
"""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from workflows.bulk import as_uuid, select, write
from workflows.core.states import StepStatus
from workflows.engine.run import Run, StepRecord


class QueueLimits:
    """The limits as one turn sees and counts against them.

    ``is_any``: whether there is any limit at all. ``written``: the steps that this turn writes;
    what their rows say now is past.
    """

    def __init__(self, *, is_any: bool, written: Mapping[UUID, tuple[UUID, StepRecord]]) -> None:
        self._is_any = is_any
        self._written = written
        self._limits: dict[UUID, dict[str, int]] = {}
        self._running: dict[UUID, Counter[str]] = {}
        self._new: list[tuple[UUID, UUID, str]] = []

    def admit(self, run: Run, record: StepRecord) -> bool:
        """Tell whether a step may begin now, and count it in."""
        if not self._is_any:
            return True
        workspace_id = run.workspace_id
        if workspace_id not in self._limits:
            self._load(workspace_id)
        limits, running = self._limits[workspace_id], self._running[workspace_id]
        queue = run.plan.compiled.steps[record.step].step.config.queue or ""
        own = {queue, ""} & limits.keys()
        if any(running[name] >= limits[name] for name in own):
            return False
        if own:
            running.update(own)
            self._new.append((record.id, workspace_id, queue))
        return True

    def _load(self, workspace_id: UUID) -> None:
        rows = select(
            "SELECT queue, max_running FROM workflows_queuelimit WHERE workspace_id = %s"
            " ORDER BY queue FOR UPDATE",
            workspace_id,
        )
        self._limits[workspace_id] = dict(rows)
        running = self._running[workspace_id] = Counter()
        if not rows:
            return
        slots = select(
            "SELECT slot.id, slot.queue, step.status FROM workflows_queueslot slot"
            " LEFT JOIN workflows_workflowstepexecution step ON step.id = slot.id"
            " WHERE slot.workspace_id = %s",
            workspace_id,
        )
        over = []
        for slot_id, queue, status in slots:
            step_id = as_uuid(slot_id)
            known = self._written.get(step_id)
            if (known[1].status if known else status) == StepStatus.RUNNING:
                running.update({queue, ""})
            elif status != StepStatus.RUNNING:
                over.append(step_id)
        if over:
            write("DELETE FROM workflows_queueslot WHERE id = ANY(%s)", over)

    def write(self) -> None:
        """Write the slots that were taken."""
        for slot in self._new:
            write(
                "INSERT INTO workflows_queueslot (id, workspace_id, queue) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                *slot,
            )
