"""The rows: how far down each vertex stands, after Brandes and Köpf (2001).

Four times, from each side and each end, vertices are aligned with the median of their neighbours
into straight blocks, and the blocks are packed; the middle of the four is taken. Long arrows thus
run straight, and siblings stand evenly about their parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from workflows.layout.ranks import Layers

NODE_HEIGHT: Final = 44
NODE_GAP: Final = 16
DUMMY_HEIGHT: Final = 4
DUMMY_GAP: Final = 10

Conflicts = set[tuple[int, int]]


def assign_rows(layers: Layers, heights: Sequence[int]) -> list[int]:
    """The middle of each vertex, in pixels from the top edge of what stands highest.

    Args:
        heights: of each step, in pixels.
    """
    if not layers.rank:
        return []
    conflicts = _conflicts(layers)
    found: list[list[float]] = []
    for neighbours, is_forward in ((layers.before, True), (layers.after, False)):
        ranks = layers.ranks if is_forward else layers.ranks[::-1]
        for is_flipped in (False, True):
            turned = [rank[::-1] for rank in ranks] if is_flipped else ranks
            rows = _pack(layers, turned, _align(layers, turned, neighbours, conflicts), heights)
            found.append([-row for row in rows] if is_flipped else rows)
    return _middle(_alike(found), heights)


def _conflicts(layers: Layers) -> Conflicts:
    """Segments that cross an inner segment of a long arrow: the long arrow stays straight."""
    position = [0] * len(layers.rank)
    for rank in layers.ranks:
        for index, vertex in enumerate(rank):
            position[vertex] = index
    conflicts: Conflicts = set()
    for upper, lower in pairwise(layers.ranks):
        first, start = 0, 0
        for index, vertex in enumerate(lower):
            inner = _inner_neighbour(layers, vertex)
            if inner is None and index < len(lower) - 1:
                continue
            last = len(upper) if inner is None else position[inner]
            for scanned in lower[start : index + 1]:
                for near in layers.before[scanned]:
                    is_inner = layers.is_dummy(near) and layers.is_dummy(scanned)
                    if not is_inner and not first <= position[near] <= last:
                        conflicts.add((near, scanned))
            first, start = last, index + 1
    return conflicts


def _inner_neighbour(layers: Layers, vertex: int) -> int | None:
    if not layers.is_dummy(vertex):
        return None
    return next((near for near in layers.before[vertex] if layers.is_dummy(near)), None)


def _align(
    layers: Layers,
    ranks: Sequence[Sequence[int]],
    neighbours: Sequence[Sequence[int]],
    conflicts: Conflicts,
) -> list[int]:
    """The root of the block of each vertex."""
    root = list(range(len(layers.rank)))
    is_taken = bytearray(len(root))
    position = [0] * len(root)
    for rank in ranks:
        for index, vertex in enumerate(rank):
            position[vertex] = index
    for rank in ranks:
        previous = -1
        for vertex in rank:
            near = sorted(neighbours[vertex], key=position.__getitem__)
            for median in near[(len(near) - 1) // 2 : len(near) // 2 + 1]:
                is_crossing = (median, vertex) in conflicts or (vertex, median) in conflicts
                if not is_taken[median] and previous < position[median] and not is_crossing:
                    root[vertex] = root[median]
                    is_taken[median] = 1
                    previous = position[median]
                    break
    return root


def _pack(
    layers: Layers, ranks: Sequence[Sequence[int]], root: Sequence[int], heights: Sequence[int]
) -> list[float]:
    """Pack the blocks as high as they go, then draw each one down to what stands below it."""
    below: dict[int, dict[int, int]] = {block: {} for block in root}
    above: dict[int, int] = dict.fromkeys(below, 0)
    for rank in ranks:
        for upper, lower in pairwise(rank):
            blocks = below[root[upper]]
            distance = _distance(layers, upper, lower, heights)
            if root[lower] not in blocks:
                above[root[lower]] += 1
            blocks[root[lower]] = max(distance, blocks.get(root[lower], 0))
    row: dict[int, float] = dict.fromkeys(below, 0)
    order = [block for block in below if not above[block]]
    for block in order:
        for lower, distance in below[block].items():
            row[lower] = max(row[lower], row[block] + distance)
            above[lower] -= 1
            if not above[lower]:
                order.append(lower)
    for block in reversed(order):
        room = [row[lower] - distance for lower, distance in below[block].items()]
        row[block] = max(row[block], min(room, default=row[block]))
    return [row[block] for block in root]


def _distance(layers: Layers, upper: int, lower: int, heights: Sequence[int]) -> int:
    """How far apart the middles of two vertices of a rank have to be."""
    is_near_dummy = layers.is_dummy(upper) or layers.is_dummy(lower)
    both = sum(DUMMY_HEIGHT if layers.is_dummy(v) else heights[v] for v in (upper, lower))
    return both // 2 + (DUMMY_GAP if is_near_dummy else NODE_GAP)


def _alike(found: Sequence[list[float]]) -> list[list[float]]:
    """Move the four results on to the smallest of them: two by their top, two by their bottom."""
    smallest = min(found, key=lambda rows: max(rows) - min(rows))
    moved = []
    for index, rows in enumerate(found):
        end = max if index % 2 else min
        shift = end(smallest) - end(rows)
        moved.append([row + shift for row in rows])
    return moved


def _middle(found: Sequence[list[float]], heights: Sequence[int]) -> list[int]:
    """The mean of the middle two of four, moved so that what stands highest touches the top."""
    rows = [sum(sorted(four)[1:3]) / 2 for four in zip(*found, strict=True)]
    top = min(
        min(row - height / 2 for row, height in zip(rows, heights, strict=False)),
        min(rows[len(heights) :], default=rows[0]) - DUMMY_HEIGHT / 2,
    )
    return [round(row - top) for row in rows]
