"""The graph of a workflow: who waits for whom, and in which order that can be done."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError as GraphlibCycle
from graphlib import TopologicalSorter
from itertools import chain
from types import MappingProxyType

from workflows.core.errors import CycleError

Neighbours = Mapping[str, tuple[str, ...]]


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

    # What not everybody asks for is found out when it is first asked for, and kept: to know the
    # levels costs hardly more than graphlib's sorting. Two threads that ask at once find the same.
    __slots__ = (
        "_given",
        "_leaves",
        "_positions",
        "_predecessors",
        "_reach",
        "_successors",
        "levels",
        "order",
    )

    levels: tuple[tuple[str, ...], ...]
    order: tuple[str, ...]

    def __init__(self, dependencies: Mapping[str, Iterable[str]]) -> None:
        """Build the graph from what each name depends on; the mapping's order settles ties.

        Raises:
            CycleError: names depend on one another in a circle.
            KeyError: a name depends on one that is not in the mapping.
        """
        self._given = dict(zip(dependencies, map(tuple, dependencies.values()), strict=True))
        self.levels = _levels(self._given)
        self.order = tuple(chain.from_iterable(self.levels))
        self._predecessors: Neighbours | None = None
        self._successors: Neighbours | None = None
        self._leaves: tuple[str, ...] | None = None
        self._positions: dict[str, int] | None = None
        self._reach: list[int] | None = None

    @property
    def predecessors(self) -> Neighbours:
        if self._predecessors is None:
            unique = {name: tuple(dict.fromkeys(needs)) for name, needs in self._given.items()}
            self._predecessors = MappingProxyType(unique)
        return self._predecessors

    @property
    def successors(self) -> Neighbours:
        if self._successors is None:
            after: dict[str, list[str]] = {name: [] for name in self.predecessors}
            for name, needs in self.predecessors.items():
                for needed in needs:
                    after[needed].append(name)
            found = {name: tuple(users) for name, users in after.items()}
            self._successors = MappingProxyType(found)
        return self._successors

    @property
    def roots(self) -> tuple[str, ...]:
        return self.levels[0] if self.levels else ()

    @property
    def leaves(self) -> tuple[str, ...]:
        if self._leaves is None:
            needed = set(chain.from_iterable(self._given.values()))
            self._leaves = tuple(name for name in self._given if name not in needed)
        return self._leaves

    def __len__(self) -> int:
        return len(self.order)

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def ancestors(self, name: str) -> frozenset[str]:
        """Return every step that `name` waits for, near or far."""
        bits = self._ancestor_bits()[self._position_of(name)]
        found = []
        while bits:
            lowest = bits & -bits
            found.append(self.order[lowest.bit_length() - 1])
            bits ^= lowest
        return frozenset(found)

    def is_ancestor(self, name: str, of: str) -> bool:
        """Tell whether the step `of` waits for `name`, near or far."""
        return bool(self._ancestor_bits()[self._position_of(of)] >> self._position_of(name) & 1)

    def descendants(self, name: str) -> frozenset[str]:
        """Return every step that waits for `name`, near or far."""
        found: set[str] = set()
        pending = [name]
        while pending:
            new = set(self.successors[pending.pop()]) - found
            found |= new
            pending.extend(new)
        return frozenset(found)

    def _position_of(self, name: str) -> int:
        if self._positions is None:
            self._positions = {name: position for position, name in enumerate(self.order)}
        return self._positions[name]

    def _ancestor_bits(self) -> list[int]:
        # One integer a step, one bit an ancestor: 1.6 MB for a chain of 5,000, and nothing where
        # nobody asks. Two threads that ask at once both compute the same list.
        if self._reach is None:
            reach: list[int] = []
            position_of = self._position_of
            for name in self.order:
                bits = 0
                for needed in self.predecessors[name]:
                    position = position_of(needed)
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


def _levels(given: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    sorter = TopologicalSorter(given)
    try:
        sorter.prepare()
    except GraphlibCycle as error:
        position = {name: index for index, name in enumerate(given)}
        raise CycleError(_from_first(error.args[1][:-1], position)) from None
    levels: list[list[str]] = []
    level_of: dict[str, list[str]] = {}
    while sorter.is_active():
        ready = sorter.get_ready()
        levels.append([])
        level_of |= dict.fromkeys(ready, levels[-1])
        sorter.done(*ready)
    # In the order that was given, which costs less than sorting each level.
    for name in given:
        level_of[name].append(name)
    if len(level_of) > len(given):
        raise KeyError(next(name for name in level_of if name not in given))
    return tuple(map(tuple, levels))


def _from_first(cycle: list[str], position: Mapping[str, int]) -> tuple[str, ...]:
    start = min(range(len(cycle)), key=lambda index: position[cycle[index]])
    return (*cycle[start:], *cycle[:start], cycle[start])
