"""The order within each rank: as few crossings as some barycentre sweeps can give."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Final

from workflows.layout.ranks import Layers

# Up to this many arrow segments, crossings are counted and the best sweep wins; above it, a few
# sweeps must do.
COUNT_AT_MOST: Final = 6_000
SWEEPS: Final = 24
SWEEPS_UNCOUNTED: Final = 4
PATIENCE: Final = 4


def order_layers(layers: Layers) -> None:
    """Reorder `layers.ranks` in place. Equal vertices keep the order of the definition."""
    segments = sum(map(len, layers.after))
    if segments > COUNT_AT_MOST:
        for sweep in range(SWEEPS_UNCOUNTED):
            _sweep(layers, is_forward=sweep % 2 == 0)
        return
    best = [list(rank) for rank in layers.ranks]
    fewest = count_crossings(layers)
    patience = PATIENCE
    for sweep in range(SWEEPS):
        if not fewest or not patience:
            break
        _sweep(layers, is_forward=sweep % 2 == 0)
        _swap_neighbours(layers)
        crossings = count_crossings(layers)
        patience -= 1
        if crossings < fewest:
            best, fewest, patience = [list(rank) for rank in layers.ranks], crossings, PATIENCE
    layers.ranks[:] = best


def count_crossings(layers: Layers) -> int:
    """How many pairs of arrow segments cross."""
    position = _positions(layers)
    total = 0
    for rank in layers.ranks:
        seen: list[int] = []
        for vertex in rank:
            ends = [position[target] for target in layers.after[vertex]]
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _positions(layers: Layers) -> list[int]:
    position = [0] * len(layers.rank)
    for rank in layers.ranks:
        for index, vertex in enumerate(rank):
            position[vertex] = index
    return position


def _sweep(layers: Layers, *, is_forward: bool) -> None:
    """Sort each rank by the mean position of the neighbours in the rank that was sorted before."""
    position = _positions(layers)
    neighbours = layers.before if is_forward else layers.after
    for rank in layers.ranks if is_forward else reversed(layers.ranks):
        weight = {
            vertex: sum(map(position.__getitem__, near)) / len(near)
            if (near := neighbours[vertex])
            else position[vertex]
            for vertex in rank
        }
        rank.sort(key=weight.__getitem__)
        for index, vertex in enumerate(rank):
            position[vertex] = index


def _swap_neighbours(layers: Layers) -> None:
    """Exchange two vertices next to each other wherever that alone saves crossings."""
    position = _positions(layers)
    for rank in layers.ranks:
        for index in range(len(rank) - 1):
            upper, lower = rank[index], rank[index + 1]
            saved = sum(
                _pairs(near[upper], near[lower], position)
                - _pairs(near[lower], near[upper], position)
                for near in (layers.before, layers.after)
            )
            if saved > 0:
                rank[index], rank[index + 1] = lower, upper
                position[lower], position[upper] = index, index + 1


def _pairs(upper: list[int], lower: list[int], position: list[int]) -> int:
    """Crossings between the segments of a vertex and those of the vertex below it."""
    ends = sorted(position[vertex] for vertex in lower)
    return sum(bisect_left(ends, position[vertex]) for vertex in upper)
