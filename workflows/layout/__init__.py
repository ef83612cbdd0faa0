"""A layered layout of our own: where each step of a workflow stands, and how its arrows run.

Left to right, in the manner of Sugiyama: ranks and dummy vertices (`ranks`), barycentre crossing
reduction (`order`), straight rows after Brandes and Köpf (`rows`), columns and routed arrows
(`routes`). It knows names and sizes only, so one layout serves every run of a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workflows.layout.order import order_layers
from workflows.layout.ranks import Layers, build_layers
from workflows.layout.routes import Arrow, arrange_columns, route_arrows
from workflows.layout.rows import NODE_HEIGHT, assign_rows

__all__ = ["NODE_HEIGHT", "Arrow", "Layout", "Place", "lay_out"]


@dataclass(frozen=True, slots=True)
class Place:
    """The box of one step: its left edge, the middle of its height, its size, and its rank."""

    x: int
    y: int
    width: int
    rank: int
    height: int = NODE_HEIGHT

    @property
    def top(self) -> int:
        return self.y - self.height // 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands, in pixels from the top left corner.

    Attributes:
        places: the box of every step, by name.
        arrows: the routed arrows; `arrow.source` and `arrow.target` index `names`.
        loops: edges that close a cycle, as pairs of names; they take no part in the layout.
        is_reduced: arrows that follow from others were left out, because there were too many.
        inside: the layouts of what stands inside blocks, by the block's name.
    """

    names: tuple[str, ...]
    places: Mapping[str, Place]
    arrows: tuple[Arrow, ...]
    loops: tuple[tuple[str, str], ...]
    width: int
    height: int
    is_reduced: bool
    inside: Mapping[str, Layout] = field(default_factory=dict)


def lay_out(
    widths: Mapping[str, int],
    edges: Iterable[tuple[str, str]],
    *,
    heights: Mapping[str, int] = {},
    labels: Mapping[tuple[str, str], int] = {},
    inside: Mapping[str, Layout] = {},
) -> Layout:
    """Lay out a graph of steps.

    Args:
        widths: the width in pixels of each step's box, in the order of the definition.
        edges: pairs of names, first the earlier step. Unknown names and self-loops are ignored;
            a cycle is laid out without the edges that close it.
        heights: of the boxes that are not as high as a step.
        labels: how much room the words on an arrow take, before the step that it leads to.
        inside: kept for whoever draws the blocks.
    """
    names = tuple(widths)
    number = {name: index for index, name in enumerate(names)}
    pairs = dict.fromkeys(
        (number[source], number[target])
        for source, target in edges
        if source in number and target in number and source != target
    )
    layers = build_layers(len(names), list(pairs))
    order_layers(layers)
    high = [heights.get(name, NODE_HEIGHT) for name in names]
    rows = assign_rows(layers, high)
    room: dict[int, int] = {}
    for (_, target), width in labels.items():
        if target in number:
            before = layers.rank[number[target]] - 1
            room[before] = max(width, room.get(before, 0))
    wide = _boxes_of(layers, list(widths.values()), high)
    columns = arrange_columns(layers, rows, wide, room)
    return Layout(
        names=names,
        places={
            name: Place(
                columns.of_rank[layers.rank[v]].x, rows[v], wide[v], layers.rank[v], high[v]
            )
            for v, name in enumerate(names)
        },
        arrows=tuple(route_arrows(layers, rows, columns)),
        loops=tuple((names[source], names[target]) for source, target in layers.loops),
        width=columns.width,
        height=max(
            max((row + size // 2 for row, size in zip(rows, high, strict=False)), default=0),
            max(rows[len(names) :], default=0),
        ),
        is_reduced=layers.is_reduced,
        inside=inside,
    )


def _boxes_of(layers: Layers, widths: list[int], heights: list[int]) -> list[int]:
    """The widths to draw: the steps of a rank are all as wide as the widest, blocks as they are."""
    drawn = list(widths)
    for rank in layers.ranks:
        steps = [v for v in rank if v < layers.count and heights[v] == NODE_HEIGHT]
        widest = max((widths[v] for v in steps), default=0)
        for vertex in steps:
            drawn[vertex] = widest
    return drawn
