"""Columns, and the arrows between them.

An arrow leaves a step on its right, turns once in the gap between two ranks, and enters the next on
its left. In each gap the arrows of one step share a track, and tracks are kept apart, so that no
two lines lie upon each other unless they belong together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from workflows.layout.ranks import Layers

GAP: Final = 28
TRACK: Final = 6
GAP_AT_MOST: Final = 240
LANE: Final = 12

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Column:
    """One rank on the page: its left edge and its width."""

    x: int
    width: int


@dataclass(frozen=True, slots=True)
class Arrow:
    """One routed arrow: corner points from source to target, or the two ends of a curve."""

    source: int
    target: int
    points: tuple[Point, ...]
    is_curve: bool = False


@dataclass(slots=True)
class Columns:
    """The ranks on the page, the widths of the steps, and for each segment where it turns.

    A segment that is missing in `turns` runs straight or, when `curves` has it, as a curve.
    """

    of_rank: list[Column]
    turns: dict[tuple[int, int], int]
    curves: set[tuple[int, int]]
    widths: Sequence[int]
    width: int = 0


@dataclass(slots=True)
class _Net:
    """The segments in one gap that share a track."""

    segments: list[tuple[int, int]]
    top: int
    bottom: int


def arrange_columns(
    layers: Layers, rows: Sequence[int], widths: Sequence[int], room: Mapping[int, int]
) -> Columns:
    """Place the ranks from left to right, each gap as wide as its tracks need.

    Args:
        room: what the words on arrows take besides, by the rank before them.
    """
    columns = Columns([], {}, set(), widths)
    x = 0
    for number, rank in enumerate(layers.ranks):
        width = max((widths[v] for v in rank if v < layers.count), default=LANE)
        columns.of_rank.append(Column(x, width))
        x += width
        columns.width = x
        x += _arrange_gap(layers, rank, rows, columns, x) + room.get(number, 0)
    return columns


def _arrange_gap(
    layers: Layers, rank: Sequence[int], rows: Sequence[int], columns: Columns, x: int
) -> int:
    """Choose the tracks after one rank, and return how wide the gap has to be."""
    nets = _nets(layers, rank, rows)
    tracks, curved = _tracks(nets, rows)
    for net in curved:
        columns.curves.update(net.segments)
    count = max((track for _, track in tracks), default=0) + 1
    width = min(GAP + TRACK * (count - 1), GAP_AT_MOST)
    step = (width - GAP) / (count - 1) if count > 1 else 0
    for net, track in tracks:
        for segment in net.segments:
            columns.turns[segment] = x + round(GAP / 2 + step * track) - 2
    return width


def _nets(layers: Layers, rank: Sequence[int], rows: Sequence[int]) -> list[_Net]:
    """Bundle the turning segments by the end that has more of them."""
    bundles: dict[tuple[bool, int], list[tuple[int, int]]] = defaultdict(list)
    for vertex in rank:
        for target in layers.after[vertex]:
            if rows[vertex] != rows[target]:
                is_join = len(layers.before[target]) > len(layers.after[vertex])
                bundles[is_join, target if is_join else vertex].append((vertex, target))
    nets = []
    for segments in bundles.values():
        touched = [rows[vertex] for segment in segments for vertex in segment]
        nets.append(_Net(segments, min(touched), max(touched)))
    return nets


def _tracks(nets: Sequence[_Net], rows: Sequence[int]) -> tuple[list[tuple[_Net, int]], list[_Net]]:
    """A track for each net, left to right, and the nets that can have none.

    A net must turn before another one arrives on the row where it came from; where two wait for
    each other, they are drawn as curves.
    """
    arriving: dict[int, list[int]] = defaultdict(list)
    for index, net in enumerate(nets):
        for row in {rows[target] for _, target in net.segments}:
            arriving[row].append(index)
    later: list[set[int]] = []
    waits = [0] * len(nets)
    for index, net in enumerate(nets):
        leaving = {rows[source] for source, _ in net.segments}
        later.append({other for row in leaving for other in arriving[row] if other != index})
        for other in later[index]:
            waits[other] += 1
    order = sorted((i for i in range(len(nets)) if not waits[i]), key=lambda i: nets[i].top)
    least = [0] * len(nets)
    tracks: list[tuple[_Net, int]] = []
    ends: list[list[tuple[int, int]]] = []
    for index in order:
        track = _free_track(ends, nets[index], least[index])
        tracks.append((nets[index], track))
        for other in later[index]:
            least[other] = max(least[other], track + 1)
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    placed = set(order)
    return tracks, [net for index, net in enumerate(nets) if index not in placed]


def _free_track(tracks: list[list[tuple[int, int]]], net: _Net, least: int) -> int:
    track = least
    while track < len(tracks) and any(
        net.top <= bottom and top <= net.bottom for top, bottom in tracks[track]
    ):
        track += 1
    while track >= len(tracks):
        tracks.append([])
    tracks[track].append((net.top, net.bottom))
    return track


def route_arrows(layers: Layers, rows: Sequence[int], columns: Columns) -> list[Arrow]:
    """The points of every arrow."""
    arrows = [_route(layers, chain, rows, columns) for chain in layers.chains]
    for source, target in layers.direct:
        ends = _ends(layers, source, target, rows, columns)
        arrows.append(Arrow(source, target, ends, is_curve=True))
    return arrows


def _ends(
    layers: Layers, source: int, target: int, rows: Sequence[int], columns: Columns
) -> tuple[Point, Point]:
    left, right = columns.of_rank[layers.rank[source]], columns.of_rank[layers.rank[target]]
    width = left.width if layers.is_dummy(source) else columns.widths[source]
    return (left.x + width, rows[source]), (right.x, rows[target])


def _route(layers: Layers, chain: Sequence[int], rows: Sequence[int], columns: Columns) -> Arrow:
    points: list[Point] = []
    for segment in pairwise(chain):
        start, end = _ends(layers, *segment, rows, columns)
        if segment in columns.curves:
            if len(chain) == 2:
                return Arrow(chain[0], chain[1], (start, end), is_curve=True)
            turn = (start[0] + end[0]) // 2
            points += [start, (turn, start[1]), (turn, end[1]), end]
        elif segment in columns.turns:
            turn = columns.turns[segment]
            points += [start, (turn, start[1]), (turn, end[1]), end]
        else:
            points += [start, end]
    return Arrow(chain[0], chain[-1], tuple(_corners(points)))


def _corners(points: Sequence[Point]) -> list[Point]:
    """Only the points where the direction changes."""
    kept: list[Point] = []
    for point in points:
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and (
            kept[-2][0] == kept[-1][0] == point[0] or kept[-2][1] == kept[-1][1] == point[1]
        ):
            kept[-1] = point
        else:
            kept.append(point)
    return kept
