"""The graph of a workflow: who waits for whom, and in which order that can be done."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError as GraphlibCycle
from graphlib import TopologicalSorter
from types import MappingProxyType

from workflows.core.errors import CycleError


class Graph:
    """An acyclic graph of names, built once and never changed.

    Attributes:
        predecessors: what each step waits for, in the order it was written.
        successors: what waits for each step, in the order of the definition.
        levels: steps that could run side by side; a step's level is the longest way to it.
        order: all steps, each after what it waits for: the levels one after the other.
        roots: steps that wait for nothing.
        leaves: steps that nothing waits for.
    """

    __slots__ = (
        "_positions",
        "_reach",
        "leaves",
        "levels",
        "order",
        "predecessors",
        "roots",
        "successors",
    )

    predecessors: Mapping[str, tuple[str, ...]]
    successors: Mapping[str, tuple[str, ...]]
    levels: tuple[tuple[str, ...], ...]
    order: tuple[str, ...]
    roots: tuple[str, ...]
    leaves: tuple[str, ...]

    def __init__(self, dependencies: Mapping[str, Iterable[str]]) -> None:
        """Build the graph from what each name depends on; the mapping's order settles ties.

        Raises:
            CycleError: names depend on one another in a circle.
            KeyError: a name depends on one that is not in the mapping.
        """
        before = {name: tuple(dict.fromkeys(needs)) for name, needs in dependencies.items()}
        after: dict[str, list[str]] = {name: [] for name in before}
        for name, needs in before.items():
            for needed in needs:
                after[needed].append(name)
        self.levels = _levels(before)
        self.order = tuple(name for level in self.levels for name in level)
        self.predecessors = MappingProxyType(before)
        self.successors = MappingProxyType({name: tuple(users) for name, users in after.items()})
        self.roots = tuple(name for name, needs in before.items() if not needs)
        self.leaves = tuple(name for name, users in after.items() if not users)
        self._positions = {name: position for position, name in enumerate(self.order)}
        self._reach: list[int] | None = None

    def __len__(self) -> int:
        return len(self.order)

    def __contains__(self, name: object) -> bool:
        return name in self.predecessors

    def ancestors(self, name: str) -> frozenset[str]:
        """Return every step that `name` waits for, near or far."""
        bits = self._ancestor_bits()[self._positions[name]]
        found = []
        while bits:
            lowest = bits & -bits
            found.append(self.order[lowest.bit_length() - 1])
            bits ^= lowest
        return frozenset(found)

    def is_ancestor(self, name: str, of: str) -> bool:
        """Tell whether the step `of` waits for `name`, near or far."""
        return bool(self._ancestor_bits()[self._positions[of]] >> self._positions[name] & 1)

    def descendants(self, name: str) -> frozenset[str]:
        """Return every step that waits for `name`, near or far."""
        found: set[str] = set()
        pending = [name]
        while pending:
            new = set(self.successors[pending.pop()]) - found
            found |= new
            pending.extend(new)
        return frozenset(found)

    def _ancestor_bits(self) -> list[int]:
        # One integer a step, one bit an ancestor: 1.6 MB for a chain of 5,000, and nothing where
        # nobody asks. Two threads that ask at once both compute the same list.
        if self._reach is None:
            reach: list[int] = []
            for name in self.order:
                bits = 0
                for needed in self.predecessors[name]:
                    position = self._positions[needed]
                    bits |= reach[position] | 1 << position
                reach.append(bits)
            self._reach = reach
        return self._reach


def find_cycles(
    dependencies: Mapping[str, Iterable[str]], *, at_most: int = 10
) -> list[tuple[str, ...]]:
    """Return cycles that share no step, each as the way round it, its first step again at the end.

    Names that are not in the mapping are ignored. Each way begins with the step that the mapping
    names first, and goes from a step to one that waits for it.
    """
    position = {name: index for index, name in enumerate(dependencies)}
    left = {name: [n for n in needs if n in position] for name, needs in dependencies.items()}
    found: list[tuple[str, ...]] = []
    while len(found) < at_most:
        try:
            TopologicalSorter(left).prepare()
        except GraphlibCycle as error:
            cycle = _from_first(error.args[1][:-1], position)
            found.append(cycle)
            gone = set(cycle)
            left = {
                name: [n for n in needs if n not in gone]
                for name, needs in left.items()
                if name not in gone
            }
        else:
            break
    return found


def _levels(before: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    sorter = TopologicalSorter(before)
    position = {name: index for index, name in enumerate(before)}
    try:
        sorter.prepare()
    except GraphlibCycle as error:
        raise CycleError(_from_first(error.args[1][:-1], position)) from None
    levels = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        levels.append(tuple(ready))
        sorter.done(*ready)
    return tuple(levels)


def _from_first(cycle: list[str], position: Mapping[str, int]) -> tuple[str, ...]:
    start = min(range(len(cycle)), key=lambda index: position[cycle[index]])
    return (*cycle[start:], *cycle[:start], cycle[start])
