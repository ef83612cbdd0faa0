"""The steps of a block while they run: a frame for each round, and the block that holds them.

The steps at the top of a workflow are a frame too. Steps of one frame wait for each other, and see
the outputs of their own frame and of those around it.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from workflows.core.graph import Graph
from workflows.core.outcomes import Failed
from workflows.core.planner import Progress
from workflows.core.scope import ABSENT
from workflows.core.steps import AnyBlock, ParallelStep, SequentialStep

if TYPE_CHECKING:
    from workflows.engine.run import StepRecord


@dataclass(slots=True, eq=False)
class Frame:
    """Steps that stand beside each other, in one round of their block.

    ``owner``: the name of the block's row, "" at the top; ``suffix``: what stands behind the names
    of the steps. ``ended`` collects those that ended since the planner was last asked; None means
    that it has to look at all of them. ``held``: steps that may start once fewer than ``limit``
    are under way. ``outputs``: by the steps' names in the definition.
    """

    owner: str
    suffix: str
    progress: Progress
    around: "Frame | None" = None
    item: Any = ABSENT
    index: Any = ABSENT
    limit: int | None = None
    ended: list[str] | None = None
    held: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    @property
    def visible(self) -> Mapping[str, Any]:
        """The outputs that the steps of this frame may refer to."""
        if self.around is None:
            return self.outputs
        return ChainMap(*[frame.outputs for frame in self.and_around()])

    def and_around(self) -> Iterator["Frame"]:
        """Yield this frame and those around it, from the inside."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.around

    @property
    def is_over(self) -> bool:
        """Whether all its steps have ended."""
        return not self.progress.unfinished

    @property
    def has_room(self) -> bool:
        """Whether another step may start."""
        return self.limit is None or self.progress.under_way < self.limit


@dataclass(slots=True, eq=False)
class BlockState:
    """A block that has begun and not ended: its row, its frames and what has come of them.

    ``items``: what it is mapped over; ``opened``: how many frames there have been; ``results``:
    what those made that are over, by their number; ``is_done``: its expression holds;
    ``is_halted``: no round may begin any more, for something has failed.
    """

    record: "StepRecord"
    step: AnyBlock
    graph: Graph
    items: list[Any] | None = None
    opened: int = 0
    frames: dict[int, Frame] = field(default_factory=dict)
    results: dict[int, Any] = field(default_factory=dict)
    failure: Failed | None = None
    is_done: bool = False
    is_halted: bool = False

    @property
    def deadline(self) -> datetime | None:
        """When its time is up."""
        seconds, begun = self.step.timeout_seconds, self.record.started_at
        return begun + timedelta(seconds=seconds) if seconds and begun else None

    @property
    def is_repeated(self) -> bool:
        """Whether it runs again until its expression holds."""
        return isinstance(self.step, SequentialStep) and self.step.config.repeat_until is not None

    @property
    def is_numbered(self) -> bool:
        """Whether its steps carry the number of their round in their names."""
        return self.items is not None or self.is_repeated

    @property
    def rounds_at_once(self) -> int:
        """How many frames may be open together."""
        if self.items is None or not isinstance(self.step, ParallelStep):
            return 1
        return self.step.config.max_concurrency or max(len(self.items), 1)

    @property
    def steps_at_once(self) -> int | None:
        """How many steps of a frame may be under way together; None for any number."""
        if self.items is None and isinstance(self.step, ParallelStep):
            return self.step.config.max_concurrency
        return None

    def output(self) -> Any:
        """Return what the block made: by step, and of a mapped one a list in order."""
        if self.items is not None:
            return [self.results.get(number, {}) for number in range(len(self.items))]
        return self.results.get(self.opened - 1, {})
