"""Work that a gate sends back: what is done anew, and what stays as it is.

The steps from the gate's ``revise`` on up to the gate get a new revision each, and their frame
then stands as if it had just been read from the database. What else the old work led to stays, but
for what asks people about it, and what was skipped because of it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from workflows.core.outcomes import Revise
from workflows.core.planner import Skip
from workflows.core.revisions import steps_done_anew
from workflows.core.states import SkipReason, StepStatus
from workflows.core.steps import choices_of
from workflows.engine.blocks import Blocks
from workflows.engine.frames import Frame
from workflows.engine.run import Run, StepRecord
from workflows.engine.step_moves import StepMoves
from workflows.engine.store import read_last_results


class Revisions:
    """The work that is sent back in one turn."""

    def __init__(self, now: datetime, moves: StepMoves, blocks: Blocks) -> None:
        self._now = now
        self._moves = moves
        self._blocks = blocks

    def send_back(self, run: Run, gate: StepRecord, outcome: Revise) -> None:
        """Have the work done anew that a gate showed, which has ended with this outcome."""
        frame = gate.place
        if frame not in run.frames():
            return  # its whole block was sent back in this turn
        names = self._done_anew(run, frame, gate.step)
        skipped = _skipped_behind(frame, names)
        revised_at = self._moment(run)
        self._stop(run, frame, names)
        for name in names:
            self._renew(run, frame, name, outcome.feedback, revised_at)
        frame.progress = frame.progress.anew()
        read_last_results([run])
        run.attach(frame, leave_out=skipped)
        anew = set(names)
        for name in skipped:
            record = run.record(frame, name)
            if _stays_skipped(run, record, anew):
                frame.progress.record(name, record.status, skip_reason=record.skip_reason)
            else:
                anew.add(name)
                self._renew(run, frame, name, outcome.feedback, revised_at)
        frame.ended = None
        run.stir(frame)

    def _done_anew(self, run: Run, frame: Frame, gate: str) -> list[str]:
        """Return the steps between, and those gates that wait for an answer about the old work."""
        graph = frame.progress.graph
        first = run.plan.done_anew_from(gate, frame.progress.statuses)
        between = steps_done_anew(graph, first, gate)
        asking = {
            name
            for name in graph.descendants(first)
            if frame.progress.statuses.get(name) is StepStatus.WAITING
            and run.plan.compiled.steps[name].step.step_type == "approval"
        }
        return [name for name in graph.order if name in asking or name in between]

    def _stop(self, run: Run, frame: Frame, names: Collection[str]) -> None:
        """Stop what is under way of these steps, and set aside what stands in them."""
        within = {name + frame.suffix for name in names}
        inside = [r for r in run.records.values() if _is_inside(run, r, within)]
        itself = [run.records[name] for name in within if name in run.records]
        self._blocks.stop(run, [*itself, *inside])
        for record in inside:
            run.earlier[record.name] = run.records.pop(record.name)

    def _moment(self, run: Run) -> datetime:
        """Return now, or a little later: later than all that was sent back before in the run."""
        before = (r.revised_at for r in run.records.values() if r.revised_at)
        return max([self._now, *(moment + timedelta(microseconds=1) for moment in before)])

    def _renew(
        self, run: Run, frame: Frame, name: str, feedback: str, revised_at: datetime
    ) -> None:
        known = run.records.get(name + frame.suffix)
        if known and known.status is StepStatus.PENDING and not known.is_stored:
            # It has not begun; or another gate has sent it back in this turn, and it answers both.
            known.feedback = f"{known.feedback}\n\n{feedback}".strip()
            known.revised_at = revised_at
        else:
            known = run.renew(frame, name, feedback=feedback, revised_at=revised_at)
        self._moves.written[known.id] = (run.id, known)


def _is_inside(run: Run, record: StepRecord, within: Collection[str]) -> bool:
    around = record.parent
    while around and around not in within:
        around = run.records[around].parent
    return bool(around)


def _skipped_behind(frame: Frame, names: Sequence[str]) -> list[str]:
    """Return what else was skipped of the steps behind the first of these, in their order."""
    progress = frame.progress
    behind = progress.graph.descendants(names[0]).difference(names)
    skipped = {n for n in behind if progress.statuses.get(n) is StepStatus.SKIPPED}
    return [name for name in progress.graph.order if name in skipped]


def _stays_skipped(run: Run, record: StepRecord, anew: set[str]) -> bool:
    """Tell whether a step was skipped for another reason than what is done anew."""
    progress = record.place.progress
    before = progress.graph.predecessors[record.step]
    if record.skip_reason == SkipReason.BRANCH_NOT_TAKEN:
        steps = run.plan.compiled.steps
        choosers = [name for name in before if record.step in choices_of(steps[name].step)]
        return not anew.issuperset(choosers)
    return anew.isdisjoint(before) or isinstance(progress.judge(record.step), Skip)
