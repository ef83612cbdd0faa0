"""The picture of a definition, with layouts kept: the runs of a version share one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from math import ceil
from typing import Any, Final

from workflows.layout import Layout
from workflows.picture import BackEdge, Edge, Node, Shape, draw_picture, lay_out_steps

#: A picture of more steps than this tells nothing; its blocks are closed, or its levels counted.
DRAWN_AT_MOST: Final = 300
LEVELS_AT_MOST: Final = 24

#: What a picture beside other things may measure: steps, and pixels from left to right.
ROOM_STEPS: Final = 60
ROOM_WIDTH: Final = 620

#: Said where arrows were left out of a picture.
REDUCED_NOTE: Final = "Arrows that follow from others are left out."

Names = tuple[str, ...]
Edges = tuple[Edge, ...]
StepDocument = Mapping[str, Any]

#: What several steps together are in, the first of these that one of them is in.
_LOUDEST: Final = (
    *("failed", "timeout", "running", "retrying", "waiting", "cancelled", "changed", "added"),
)
_DONE: Final = frozenset({"completed", "skipped", "failed", "timeout", "cancelled"})


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture, and what has to be said of it, if anything."""

    svg: str
    note: str = ""


def steps_of(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of a definition document, in its order; blocks hold others."""
    return list(definition.get("steps") or ())


def nested_of(step: StepDocument) -> list[dict[str, Any]]:
    """The steps inside a block; none for any other step."""
    if step.get("step_type") not in ("parallel", "sequential"):
        return []
    return list((step.get("config") or {}).get("steps") or ())


def every_step(steps: Iterable[StepDocument]) -> Iterator[StepDocument]:
    """The steps and all inside them, each before its own."""
    for step in steps:
        yield step
        yield from every_step(nested_of(step))


def blocks_around(steps: Iterable[StepDocument], name: str) -> list[StepDocument]:
    """The blocks that a step of a definition stands in, the outermost first."""
    for step in steps:
        inside = nested_of(step)
        if any(each["name"] == name for each in every_step(inside)):
            return [step, *blocks_around(inside, name)]
    return []


def repeats(step: StepDocument) -> bool:
    """Whether a block's steps run several times: for each item, or until something holds."""
    config = step.get("config") or {}
    is_looped = config.get("for_each") is not None or config.get("repeat_until") is not None
    return bool(nested_of(step)) and is_looped


def edges_of(steps: Iterable[StepDocument]) -> Edges:
    """The dependencies as pairs of names, first the earlier step."""
    return tuple(
        (needed, step["name"]) for step in steps for needed in step.get("depends_on_steps") or ()
    )


def edges_inside(block: StepDocument) -> Edges:
    """The dependencies inside a block; in a sequential one each step follows the one before."""
    steps = nested_of(block)
    edges = dict.fromkeys(edges_of(steps))
    if block["step_type"] == "sequential":
        edges |= dict.fromkeys((one["name"], other["name"]) for one, other in pairwise(steps))
    return tuple(edges)


def branches_of(step: StepDocument) -> dict[str, str]:
    """The value of a condition that leads to a step, by the step's name."""
    config = step.get("config") or {}
    if step.get("step_type") != "condition":
        return {}
    found = dict.fromkeys(config.get("default") or (), "else")
    for value, names in (config.get("branches") or {}).items():
        found |= dict.fromkeys(names or (), value)
    return found


def labels_of(steps: Iterable[StepDocument]) -> dict[Edge, str]:
    """The words on arrows: the values of conditions, on the arrows that they lead along."""
    return {
        (step["name"], name): value for step in steps for name, value in branches_of(step).items()
    }


def draw_definition(
    steps: Sequence[StepDocument],
    make: Callable[[StepDocument], Node],
    *,
    title: str,
    prefix: str = "graph",
    is_standalone: bool = False,
) -> Drawing:
    """Draw all steps of a definition: `make` gives each its node, without what is inside it.

    What is too much for a picture is drawn with its blocks closed, or as its levels.
    """
    total = sum(1 for _ in every_step(steps))
    edges, labels = edges_of(steps), labels_of(steps)
    if len(steps) > DRAWN_AT_MOST:
        nodes = _levels(steps, make, edges)
        edges, labels = tuple((one.name, other.name) for one, other in pairwise(nodes)), {}
        note = f"{total:,} steps are too many for a picture: it counts them level by level."
    elif total > DRAWN_AT_MOST:
        nodes = [_closed(step, make(step)) for step in steps]
        note = f"{total:,} steps are too many for a picture: its blocks are drawn closed."
    else:
        nodes = [_opened(step, make) for step in steps]
        note = ""
    layout = _layout(tuple(node.shape() for node in nodes), edges, tuple(labels.items()))
    svg = draw_picture(
        nodes,
        edges,
        title=title,
        labels=labels,
        layout=layout,
        prefix=prefix,
        is_standalone=is_standalone,
    )
    return Drawing(svg, note or (REDUCED_NOTE if layout.is_reduced else ""))


def _opened(step: StepDocument, make: Callable[[StepDocument], Node]) -> Node:
    inside = nested_of(step)
    if not inside:
        return make(step)
    return replace(
        make(step),
        inside=tuple(_opened(each, make) for each in inside),
        edges=edges_inside(step),
        labels=labels_of(inside),
    )


def _closed(step: StepDocument, node: Node) -> Node:
    count = sum(1 for _ in every_step(nested_of(step)))
    return replace(node, label=node.label or f"{count:,} steps") if count else node


def _levels(
    steps: Sequence[StepDocument], make: Callable[[StepDocument], Node], edges: Edges
) -> list[Node]:
    """One node for all steps of a level, or of some levels that follow each other."""
    sorter: TopologicalSorter[str] = TopologicalSorter({step["name"]: () for step in steps})
    known = {step["name"]: step for step in steps}
    for needed, name in edges:
        if needed in known:
            sorter.add(name, needed)
    levels: list[tuple[str, ...]] = []
    try:
        sorter.prepare()
        while sorter.is_active():
            levels.append(sorter.get_ready())
            sorter.done(*levels[-1])
    except CycleError:
        levels = [tuple(known)]
    size = ceil(len(levels) / LEVELS_AT_MOST)
    return [
        _level(start + 1, levels[start : start + size], lambda name: make(known[name]))
        for start in range(0, len(levels), size)
    ]


def _level(first: int, levels: Sequence[Names], make: Callable[[str], Node]) -> Node:
    statuses = [make(name).status for level in levels for name in level]
    last = first + len(levels) - 1
    count = len(statuses)
    words = f"{count:,} step{'s' if count != 1 else ''}"
    done = sum(status in _DONE for status in statuses)
    return Node(
        name=f"Level {first}" if first == last else f"Levels {first}–{last}",
        status=together(statuses),
        label=f"{done:,} of {count:,}" if done else words,
        note=words,
    )


def together(statuses: Sequence[str]) -> str:
    """The one status of several steps: the one that most needs to be seen."""
    present = set(statuses)
    for status in _LOUDEST:
        if status in present:
            return status
    for status in ("completed", "pending", "skipped"):
        if status in present:
            is_mixed = status == "completed" and "pending" in present
            return "running" if is_mixed else status
    return ""


def draw_steps(
    nodes: Sequence[Node],
    edges: Edges,
    *,
    title: str,
    prefix: str = "graph",
    back_edges: Sequence[BackEdge] = (),
) -> str:
    """Draw steps on a layout that is kept for the next picture of the same graph."""
    layout = _layout(tuple(node.shape() for node in nodes), edges)
    return draw_picture(
        nodes, edges, title=title, layout=layout, prefix=prefix, back_edges=back_edges
    )


def surroundings(names: Names, edges: Edges, centre: str) -> tuple[Names, Edges]:
    """The part of a graph around one step that fits beside other things on a page.

    All of it where it fits; else the steps two arrows away, or one.
    """
    for depth in (None, 2, 1):
        near = set(names) if depth is None else _neighbourhood(edges, centre, depth)
        shown = tuple(name for name in names if name in near)
        between = tuple(pair for pair in edges if pair[0] in near and pair[1] in near)
        if len(shown) <= ROOM_STEPS and _plain_layout(shown, between).width <= ROOM_WIDTH:
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


def _plain_layout(names: Names, edges: Edges) -> Layout:
    return _layout(tuple(Shape(name) for name in names), edges)


@lru_cache(maxsize=64)
def _layout(
    shapes: tuple[Shape, ...], edges: Edges, labels: tuple[tuple[Edge, str], ...] = ()
) -> Layout:
    return lay_out_steps(shapes, edges, dict(labels))
