"""Ranks: which column each step stands in, and the dummy vertices that carry long arrows across."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

# Above this many dummy vertices, arrows that follow from others are left out first; what is still
# too long after that is drawn straight through instead of being led around.
REDUCE_ABOVE: Final = 4_000
LEAD_AT_MOST: Final = 30_000

Edge = tuple[int, int]


@dataclass(slots=True)
class Layers:
    """A graph cut into ranks. Vertices below `count` are steps, the others dummies.

    Attributes:
        rank: the rank of each vertex.
        ranks: the vertices of each rank, top to bottom.
        before, after: the neighbours of each vertex one rank to the left and to the right.
        chains: for each arrow, the vertices that it passes, from its source to its target.
        direct: arrows over several ranks that have no dummies.
        loops: edges that close a cycle.
    """

    count: int
    rank: list[int]
    ranks: list[list[int]]
    before: list[list[int]]
    after: list[list[int]]
    chains: list[list[int]] = field(default_factory=list)
    direct: list[Edge] = field(default_factory=list)
    loops: list[Edge] = field(default_factory=list)
    is_reduced: bool = False

    def is_dummy(self, vertex: int) -> bool:
        return vertex >= self.count


def build_layers(count: int, edges: Sequence[Edge]) -> Layers:
    """Rank the vertices by their longest way from a root, and lead long arrows over dummies."""
    successors, loops = _without_loops(count, edges)
    order = _topological(count, successors)
    rank = _longest_ways(order, successors)
    is_reduced = _dummies(rank, successors) > REDUCE_ABOVE
    if is_reduced:
        successors = _reduced(order, successors)
    ranks: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for vertex in range(count):
        ranks[rank[vertex]].append(vertex)
    layers = Layers(
        count=count,
        rank=rank,
        ranks=ranks,
        before=[[] for _ in range(count)],
        after=[[] for _ in range(count)],
        loops=loops,
        is_reduced=is_reduced,
    )
    _lead(layers, successors)
    return layers


def _without_loops(count: int, edges: Sequence[Edge]) -> tuple[list[list[int]], list[Edge]]:
    """The successors of each vertex without the edges that a depth-first walk finds going back."""
    outgoing: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        outgoing[source].append(target)
    kept: list[list[int]] = [[] for _ in range(count)]
    loops: list[Edge] = []
    is_open, is_done = bytearray(count), bytearray(count)
    for root in range(count):
        walk = [] if is_done[root] else [(root, iter(outgoing[root]))]
        while walk:
            vertex, rest = walk[-1]
            is_open[vertex] = 1
            target = next(rest, -1)
            if target < 0:
                is_open[vertex], is_done[vertex] = 0, 1
                walk.pop()
            elif is_open[target]:
                loops.append((vertex, target))
            else:
                kept[vertex].append(target)
                if not is_done[target]:
                    walk.append((target, iter(outgoing[target])))
    return kept, loops


def _topological(count: int, successors: Sequence[Sequence[int]]) -> list[int]:
    missing = [0] * count
    for targets in successors:
        for target in targets:
            missing[target] += 1
    order = [vertex for vertex in range(count) if not missing[vertex]]
    for vertex in order:
        for target in successors[vertex]:
            missing[target] -= 1
            if not missing[target]:
                order.append(target)
    return order


def _longest_ways(order: Sequence[int], successors: Sequence[Sequence[int]]) -> list[int]:
    rank = [0] * len(order)
    for vertex in order:
        for target in successors[vertex]:
            rank[target] = max(rank[target], rank[vertex] + 1)
    return rank


def _dummies(rank: Sequence[int], successors: Sequence[Sequence[int]]) -> int:
    return sum(
        rank[target] - rank[vertex] - 1
        for vertex, targets in enumerate(successors)
        for target in targets
    )


def _reduced(order: Sequence[int], successors: Sequence[Sequence[int]]) -> list[list[int]]:
    """The transitive reduction, on integers used as sets of bits."""
    position = [0] * len(order)
    for index, vertex in enumerate(order):
        position[vertex] = index
    reach = [0] * len(order)
    kept: list[list[int]] = [[] for _ in order]
    for vertex in reversed(order):
        covered = 0
        for target in sorted(successors[vertex], key=position.__getitem__):
            if not covered >> target & 1:
                covered |= reach[target]
                kept[vertex].append(target)
        reach[vertex] = covered | 1 << vertex
    return kept


def _lead(layers: Layers, successors: Sequence[Sequence[int]]) -> None:
    """Give every arrow its chain of vertices, the shortest first, while dummies are left."""
    rank = layers.rank
    edges = [(v, target) for v, targets in enumerate(successors) for target in targets]
    edges.sort(key=lambda edge: rank[edge[1]] - rank[edge[0]])
    left = LEAD_AT_MOST
    for source, target in edges:
        left -= rank[target] - rank[source] - 1
        if left < 0:
            layers.direct.append((source, target))
            continue
        chain = [source]
        for between in range(rank[source] + 1, rank[target]):
            chain.append(_add_dummy(layers, between))
        chain.append(target)
        for one, other in pairwise(chain):
            layers.after[one].append(other)
            layers.before[other].append(one)
        layers.chains.append(chain)


def _add_dummy(layers: Layers, rank: int) -> int:
    vertex = len(layers.rank)
    layers.rank.append(rank)
    layers.ranks[rank].append(vertex)
    layers.before.append([])
    layers.after.append([])
    return vertex
