"""Blocks that run in rounds: what stands in them, and the names that the rows of it have."""

from collections.abc import Iterable, Iterator, Sequence

from workflows.core.errors import Problem
from workflows.core.names import MAX_NAME, without_positions
from workflows.core.steps import AnyBlock, Step
from workflows.core.structure import Node


class Rounds:
    """Which steps of a definition run in rounds.

    Of steps with the same name, which is an error of its own, the first one counts; so no step
    stands in itself.
    """

    def __init__(self, nodes: Iterable[Node], steps: Iterable[Step]) -> None:
        self.blocks: dict[str, str] = {}
        for node in nodes:
            self.blocks.setdefault(node.name, node.block)
        loops = [s for s in steps if isinstance(s, AnyBlock) and s.config.is_loop]
        self._loops = {block.name for block in loops}
        self._mapped = {block.name for block in loops if block.config.for_each is not None}

    def around(self, step: str) -> Iterator[str]:
        """Yield the blocks that a step stands in, from the inside."""
        while step := self.blocks.get(step, ""):
            yield step

    def has_index(self, step: str) -> bool:
        """Tell whether a step runs in rounds."""
        return not self._loops.isdisjoint(self.around(step))

    def has_item(self, step: str) -> bool:
        """Tell whether a step runs for each item of a list."""
        return not self._mapped.isdisjoint(self.around(step))

    def mistaken_names(self, nodes: Sequence[Node]) -> Iterator[Problem]:
        """Yield the names that the rows of another step may have, which runs in rounds."""
        for node in nodes:
            if len(node.name) > MAX_NAME:
                continue  # It is refused for that, and each position of it costs a look at it all.
            for name in without_positions(node.name):
                if self.has_index(name):
                    message = (
                        f"The step name '{node.name}' may be that of a round of '{name}', which"
                        " stands in a block that runs in rounds"
                    )
                    yield Problem(node.name, "duplicate_name", message, node.at("name"))
                    break
