"""The picture of a definition, with layouts kept: the runs of a version share one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from workflows.layout import Layout
from workflows.picture import BackEdge, Node, draw_picture, lay_out_steps

#: Above this many steps a picture is not redrawn with every event: that would cost more than it
#: tells, and the list of steps says the same.
REDRAW_AT_MOST: Final = 400

#: What a picture beside other things may measure: steps, and pixels from left to right.
ROOM_STEPS: Final = 60
ROOM_WIDTH: Final = 620

#: Said where arrows were left out of a picture.
REDUCED_NOTE: Final = "Arrows that follow from others are left out."

Names = tuple[str, ...]
Edges = tuple[tuple[str, str], ...]


def steps_of(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of a definition document, in its order."""
    return list(definition.get("steps") or ())


def edges_of(steps: Iterable[Mapping[str, Any]]) -> Edges:
    """The dependencies as pairs of names, first the earlier step."""
    return tuple(
        (needed, step["name"]) for step in steps for needed in step.get("depends_on_steps") or ()
    )


def draw_steps(
    nodes: Sequence[Node],
    edges: Edges,
    *,
    title: str,
    prefix: str = "graph",
    back_edges: Sequence[BackEdge] = (),
) -> str:
    """Draw steps on a layout that is kept for the next picture of the same graph."""
    layout = _layout(tuple(node.name for node in nodes), edges)
    return draw_picture(
        nodes, edges, title=title, layout=layout, prefix=prefix, back_edges=back_edges
    )


def is_reduced(names: Iterable[str], edges: Edges) -> bool:
    """Whether the picture leaves out arrows that follow from others, for there are too many."""
    return _layout(tuple(names), edges).is_reduced


def surroundings(names: Names, edges: Edges, centre: str) -> tuple[Names, Edges]:
    """The part of a graph around one step that fits beside other things on a page.

    All of it where it fits; else the steps two arrows away, or one.
    """
    for depth in (None, 2, 1):
        near = set(names) if depth is None else _neighbourhood(edges, centre, depth)
        shown = tuple(name for name in names if name in near)
        between = tuple(pair for pair in edges if pair[0] in near and pair[1] in near)
        if len(shown) <= ROOM_STEPS and _layout(shown, between).width <= ROOM_WIDTH:
            break
    return shown, between


def _neighbourhood(edges: Edges, name: str, depth: int) -> set[str]:
    """The names at most `depth` arrows away from a step, along or against them, and the step."""
    near = {name}
    for is_forward in (True, False):
        ways = edges if is_forward else [(target, source) for source, target in edges]
        reached = {name}
        for _ in range(depth):
            reached |= {target for source, target in ways if source in reached}
        near |= reached
    return near


@lru_cache(maxsize=64)
def _layout(names: Names, edges: Edges) -> Layout:
    return lay_out_steps(names, edges)
