"""With ``fail_fast``: what may not start any more once something has failed."""

from collections.abc import Collection

from workflows.core.planner import ACCEPT_FAILURES
from workflows.engine.frames import BlockState, Frame
from workflows.engine.run import Run


def halt(run: Run, failed: Frame) -> None:
    """Let nothing new start after a failure in a frame: in the whole run, or within the block that
    tolerates it. A block whose own rule accepts failures goes on, unless it stands around them."""
    around = set(_reach(run, failed))
    halted = {frame for frame in run.frames() if _is_within(run, frame, around)}
    for frame in halted:
        frame.progress.is_halted = True
        run.stir(frame)
    for block in run.blocks.values():
        if block.record.frame in halted and not halted.isdisjoint(block.frames.values()):
            block.is_halted = True


def halt_again(run: Run) -> None:
    """Halt a run that was read anew as its failures did before."""
    for frame in list(run.frames()):
        if frame.progress.is_fail_fast and frame.progress.failures:
            halt(run, frame)


def is_halted_from_outside(run: Run, block: BlockState) -> bool:
    """Tell whether a block that begins now may not go on: what has failed is no matter to one
    whose rule accepts failures."""
    return block.record.place.progress.is_halted and not _accepts_failures(run, block)


def _reach(run: Run, failed: Frame) -> list[Frame]:
    """Return a frame and those around it that its failure reaches."""
    reached = []
    for frame in failed.and_around():
        reached.append(frame)
        if frame.around is None or run.blocks[frame.owner].step.config.continue_on_error:
            break
    return reached


def _is_within(run: Run, frame: Frame, around: Collection[Frame]) -> bool:
    for each in frame.and_around():
        if each in around:
            return True
        if each.around is not None and _accepts_failures(run, run.blocks[each.owner]):
            return False
    return False


def _accepts_failures(run: Run, block: BlockState) -> bool:
    return run.plan.rules.get(block.record.step) in ACCEPT_FAILURES
