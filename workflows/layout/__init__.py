"""A layered layout of our own: where each step of a workflow stands, and how its arrows run.

Left to right, in the manner of Sugiyama: ranks and dummy vertices (`ranks`), barycentre crossing
reduction (`order`), straight rows after Brandes and Köpf (`rows`), columns and routed arrows
(`routes`). It knows names and widths only, so one layout serves every run of a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from workflows.layout.order import order_layers
from workflows.layout.ranks import build_layers
from workflows.layout.routes import Arrow, Column, arrange_columns, route_arrows
from workflows.layout.rows import NODE_HEIGHT, assign_rows

__all__ = ["NODE_HEIGHT", "Arrow", "Layout", "Place", "lay_out"]


@dataclass(frozen=True, slots=True)
class Place:
    """The box of one step: its left edge, the middle of its height, its width, and its rank."""

    x: int
    y: int
    width: int
    rank: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands, in pixels from the top left corner.

    Attributes:
        places: the box of every step, by name.
        arrows: the routed arrows; `arrow.source` and `arrow.target` index `names`.
        loops: edges that close a cycle, as pairs of names; they take no part in the layout.
        is_reduced: arrows that follow from others were left out, because there were too many.
    """

    names: tuple[str, ...]
    places: Mapping[str, Place]
    arrows: tuple[Arrow, ...]
    loops: tuple[tuple[str, str], ...]
    width: int
    height: int
    is_reduced: bool


def lay_out(widths: Mapping[str, int], edges: Iterable[tuple[str, str]]) -> Layout:
    """Lay out a graph of steps.

    Args:
        widths: the width in pixels of each step's box, in the order of the definition.
        edges: pairs of names, first the earlier step. Unknown names and self-loops are ignored;
            a cycle is laid out without the edges that close it.
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
    rows = assign_rows(layers)
    columns = arrange_columns(layers, rows, list(widths.values()))
    arrows = route_arrows(layers, rows, columns)
    places = _places(names, layers.rank, rows, columns.of_rank)
    return Layout(
        names=names,
        places=places,
        arrows=tuple(arrows),
        loops=tuple((names[source], names[target]) for source, target in layers.loops),
        width=columns.width,
        height=max(
            max(rows[: len(names)], default=0) + NODE_HEIGHT // 2,
            max(rows[len(names) :], default=0),
        ),
        is_reduced=layers.is_reduced,
    )


def _places(
    names: tuple[str, ...], rank: list[int], rows: list[int], columns: list[Column]
) -> dict[str, Place]:
    return {
        name: Place(columns[rank[v]].x, rows[v], columns[rank[v]].width, rank[v])
        for v, name in enumerate(names)
    }
