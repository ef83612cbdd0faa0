"""Routed arrows as the paths of an SVG: straight runs, rounded corners, tips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workflows.layout.routes import Arrow, Point

CORNER: Final = 7
TIP: Final = 6


def path_of(arrow: Arrow) -> str:
    """The line of an arrow, ending where its tip begins to be pointed."""
    points = arrow.points
    (x, y), (end_x, end_y) = points[0], points[-1]
    if arrow.is_curve:
        bend = max(16, (end_x - x) // 2)
        return f"M{x} {y}C{x + bend} {y} {end_x - bend} {end_y} {end_x - 2} {end_y}"
    return rounded(points) + f"L{end_x - 2} {end_y}"


def rounded(points: Sequence[Point]) -> str:
    """The way through corner points up to the last of them, which it does not reach."""
    parts = ["M{} {}".format(*points[0])]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(CORNER, _length(before, corner) / 2, _length(corner, after) / 2)
        parts.append("L{:g} {:g}".format(*_towards(corner, before, radius)))
        parts.append("Q{} {} {:g} {:g}".format(*corner, *_towards(corner, after, radius)))
    return "".join(parts)


def tip_at(x: int, y: int) -> str:
    """A tip that points right."""
    return f"M{x - TIP} {y - 3.5}L{x} {y}L{x - TIP} {y + 3.5}Z"


def tip_up(x: int, y: int) -> str:
    """A tip that points up."""
    return f"M{x - 3.5} {y + TIP}L{x} {y}L{x + 3.5} {y + TIP}Z"


def _length(one: Point, other: Point) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(corner: Point, point: Point, radius: float) -> tuple[float, float]:
    length = _length(corner, point) or 1
    return (
        corner[0] + (point[0] - corner[0]) * radius / length,
        corner[1] + (point[1] - corner[1]) * radius / length,
    )
