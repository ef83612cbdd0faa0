"""The picture of a workflow: an SVG of links, drawn on the server.

Each step is a link that the keyboard reaches, in the order of the ranks, with its status in colour,
icon and word. A block is a box around the steps in it. Colours come from the style sheet by class,
for the pages' policy allows no style attributes; a picture that stands alone carries them itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import ceil
from typing import Final

from workflows.icons import ICONS, STEP_TYPE_ICONS
from workflows.layout import NODE_HEIGHT, Layout, Place, lay_out
from workflows.layout.paths import path_of, rounded, tip_at, tip_up
from workflows.layout.texts import fit_text, text_width
from workflows.wording import NEUTRAL, Look, status_look

MARGIN: Final = 10
BACK_EDGE_DROP: Final = 22
WIDTH_AT_LEAST: Final = 122
WIDTH_AT_MOST: Final = 196
TEXT_LEFT: Final = 31
TEXT_RIGHT: Final = 8
NAME_SIZE: Final = 11.5
LABEL_SIZE: Final = 11.0
BLOCK_HEAD: Final = 30
BLOCK_PAD: Final = 14
BLOCK_LABEL: Final = 124
BLOCK_TIMES: Final = 52

# The light theme's colours (ink, ground) for a picture that stands alone.
STANDALONE: Final[dict[str, tuple[str, str]]] = {
    "waiting": ("#854800", "#fdf0d9"),
    "running": ("#1d55c0", "#e6eefc"),
    "retrying": ("#98380f", "#fdeae0"),
    "completed": ("#146a3b", "#fff"),
    "failed": ("#b02121", "#fdeaea"),
    "timeout": ("#96275f", "#fbe8f2"),
    "paused": ("#663bb0", "#f1ebfb"),
    NEUTRAL: ("#545b69", "#fff"),
}


Edge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the layout has to know of a step: its name, and for a block what stands inside."""

    name: str
    inside: tuple[Shape, ...] = ()
    edges: tuple[Edge, ...] = ()
    labels: tuple[tuple[Edge, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One step in the picture.

    Attributes:
        status: a status of `wording.STATUS_LOOKS`; empty draws the step by its type.
        label: the second line; by default the status's word, or the step's type.
        note: said in the tooltip after name and label.
        href: where the step leads; empty draws no link.
        is_current: the gate or step that the page is about.
        is_selected: the step that the reader chose.
        inside: the steps of a block, with `edges` and the words on them.
        times: how often a block's steps run, such as `× 12`.
    """

    name: str
    step_type: str = "task"
    status: str = ""
    label: str = ""
    note: str = ""
    href: str = ""
    is_current: bool = False
    is_selected: bool = False
    inside: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    labels: Mapping[Edge, str] = field(default_factory=dict)
    times: str = ""

    def look(self) -> Look:
        """Tone, icon and word. A gate that nobody has passed yet shows its person."""
        own = STEP_TYPE_ICONS.get(self.step_type, "document")
        if not self.status:
            return Look(NEUTRAL, own, self.label or self.step_type)
        look = status_look(self.status)
        is_open = self.status in ("pending", "waiting")
        icon = own if is_open and self.step_type in ("approval", "condition") else look.icon
        return Look(look.tone, icon, self.label or look.word)

    def shape(self) -> Shape:
        """What the layout of this step depends on, which is the definition alone."""
        inside = tuple(node.shape() for node in self.inside)
        return Shape(self.name, inside, self.edges, tuple(self.labels.items()))

    def every(self) -> Iterator[Node]:
        """This step and all inside it."""
        yield self
        for node in self.inside:
            yield from node.every()


@dataclass(frozen=True, slots=True)
class BackEdge:
    """A dashed arrow back below the picture, such as what a request for changes does."""

    source: str
    target: str
    label: str = ""


def lay_out_steps(
    steps: Iterable[str | Shape], edges: Iterable[Edge], labels: Mapping[Edge, str] = {}
) -> Layout:
    """The layout of a workflow's steps; it depends on the definition alone and can be kept."""
    widths, heights, inside = {}, {}, {}
    for step in steps:
        shape = step if isinstance(step, Shape) else Shape(step)
        widths[shape.name] = _box_width(shape.name)
        if shape.inside:
            layout = lay_out_steps(shape.inside, shape.edges, dict(shape.labels))
            inside[shape.name] = layout
            widths[shape.name] = _block_width(shape.name, layout)
            heights[shape.name] = layout.height + BLOCK_HEAD + BLOCK_PAD
    words = {edge: ceil(text_width(label, LABEL_SIZE)) + 6 for edge, label in labels.items()}
    return lay_out(widths, edges, heights=heights, labels=words, inside=inside)


def draw_picture(
    nodes: Sequence[Node],
    edges: Iterable[Edge],
    *,
    title: str,
    labels: Mapping[Edge, str] = {},
    back_edges: Sequence[BackEdge] = (),
    layout: Layout | None = None,
    prefix: str = "graph",
    is_standalone: bool = False,
) -> str:
    """Draw a workflow as an SVG element.

    Args:
        nodes: the steps, in the order of the definition.
        edges: pairs of names, first the earlier step.
        title: what the picture shows, for those who hear it.
        labels: words on arrows, such as the value that leads to a branch.
        back_edges: dashed arrows drawn below the steps.
        layout: a kept result of `lay_out_steps` for the same shapes, edges and labels.
        prefix: begins the ids in this picture; two on one page need different ones.
        is_standalone: carry colours and fonts, for a file that no style sheet reaches.
    """
    layout = layout or lay_out_steps((node.shape() for node in nodes), edges, labels)
    backs = _draw_back_edges(layout, [*back_edges, *(BackEdge(*loop) for loop in layout.loops)])
    drop = BACK_EDGE_DROP * 2 if backs else 0
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN + drop
    every = [inner for node in nodes for inner in node.every()]
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="group" '
            f'aria-label="{escape(title)}" width="{width}" height="{height}" '
            f'viewBox="{-MARGIN} {-MARGIN} {width} {height}"{_root_style(is_standalone)}>',
            _draw_symbols(prefix, {node.look().icon for node in every}),
            *_Pen(prefix, is_standalone).draw(nodes, labels, layout, backs),
            "</svg>",
        )
    )


def _root_style(is_standalone: bool) -> str:
    fonts = ' font-family="Inter,system-ui,sans-serif" font-size="11" fill="none"'
    return fonts if is_standalone else ""


def _draw_symbols(prefix: str, icons: Iterable[str]) -> str:
    symbols = "".join(
        f'<symbol id="{prefix}-{icon}" viewBox="0 0 16 16">{ICONS[icon]}</symbol>'
        for icon in sorted(icons)
    )
    return f"<defs>{symbols}</defs>"


@dataclass(frozen=True, slots=True)
class _Pen:
    """Draws the steps of one layout, and those inside blocks the same way."""

    prefix: str
    is_standalone: bool

    def draw(
        self,
        nodes: Sequence[Node],
        labels: Mapping[Edge, str],
        layout: Layout,
        backs: Sequence[str] = (),
    ) -> Iterator[str]:
        by_name = {node.name: node for node in nodes}
        style = ' fill="none" stroke="#7d8494" stroke-width="1.25"' if self.is_standalone else ""
        yield f'<g class="graph-edges" aria-hidden="true"{style}>'
        yield from _draw_arrows(layout, by_name, labels)
        yield from backs
        yield "</g>"
        for name, place in sorted(layout.places.items(), key=lambda at: (at[1].rank, at[1].y)):
            node = by_name.get(name)
            if node is None:
                continue
            if node.inside:
                yield from self._block(node, place, layout.inside[name])
            else:
                yield self._step(node, place)

    def _step(self, node: Node, place: Place) -> str:
        look = node.look()
        room = place.width - TEXT_LEFT - TEXT_RIGHT
        ink, ground = STANDALONE.get(look.tone, STANDALONE[NEUTRAL])
        box = f' fill="{ground}" stroke="{ink}"' if self.is_standalone else ""
        return (
            self._open(node, look, f"translate({place.x} {place.top})")
            + _ring(place.width, NODE_HEIGHT)
            + f'<rect class="graph-box" width="{place.width}" height="{NODE_HEIGHT}" rx="8"{box}/>'
            + self._words(node.name, look, (14, 19, 34), room, room)
            + ("</a>" if node.href else "</g>")
        )

    def _block(self, node: Node, place: Place, layout: Layout) -> Iterator[str]:
        """A box with a head that is the link, and the steps inside after it."""
        look = node.look()
        ink, _ = STANDALONE.get(look.tone, STANDALONE[NEUTRAL])
        box = f' fill="none" stroke="{ink}"' if self.is_standalone else ""
        label = look.word
        label_room = min(text_width(label, LABEL_SIZE) + 1, BLOCK_LABEL)
        name = f"{node.name} {node.times}".rstrip()
        room = place.width - TEXT_LEFT - 2 * TEXT_RIGHT - label_room
        yield f'<g class="graph-block" transform="translate({place.x} {place.top})">'
        yield self._open(node, look, "")
        yield _ring(place.width, place.height)
        yield (
            f'<rect class="graph-box is-block" width="{place.width}" height="{place.height}" '
            f'rx="10"{box}/>'
        )
        yield self._words(name, look, (7, 19, 0), room, 0)
        text = f' fill="{ink}"' if self.is_standalone else ""
        yield (
            f'<text class="graph-label" x="{place.width - TEXT_RIGHT - 2}" y="19" '
            f'text-anchor="end"{text}>{escape(fit_text(label, label_room, LABEL_SIZE))}</text>'
        )
        yield "</a>" if node.href else "</g>"
        indent = (place.width - layout.width) // 2
        yield f'<g transform="translate({indent} {BLOCK_HEAD})">'
        yield from self.draw(node.inside, node.labels, layout)
        yield "</g></g>"

    def _open(self, node: Node, look: Look, transform: str) -> str:
        """The link or group of one step, with its tooltip."""
        state = (" is-current" if node.is_current else "") + (
            " is-selected" if node.is_selected else ""
        )
        title = ". ".join(
            filter(None, (f"{node.name}: {' '.join((node.times, look.word)).strip()}", node.note))
        )
        tag = f'a href="{escape(node.href)}"' if node.href else "g"
        chosen = ' aria-current="true"' if node.is_selected or node.is_current else ""
        moved = f' transform="{transform}"' if transform else ""
        return (
            f'<{tag} class="graph-node tone-{look.tone} is-{escape(node.status or "plain")}{state}"'
            f"{chosen}{moved}><title>{escape(title)}</title>"
        )

    def _words(
        self, name: str, look: Look, rows: tuple[int, int, int], room: float, label_room: float
    ) -> str:
        """Icon, name and, where there is room for it, the label below."""
        ink, _ = STANDALONE.get(look.tone, STANDALONE[NEUTRAL])
        icon = f' stroke="{ink}" stroke-width="1.5"' if self.is_standalone else ""
        text = f' fill="{ink}"' if self.is_standalone else ""
        drawn = (
            f'<use href="#{self.prefix}-{look.icon}" x="9" y="{rows[0]}" width="16" '
            f'height="16"{icon}/><text class="graph-name" x="{TEXT_LEFT}" y="{rows[1]}"{text}>'
            f"{escape(fit_text(name, room, NAME_SIZE))}</text>"
        )
        if not label_room:
            return drawn
        return (
            f'{drawn}<text class="graph-label" x="{TEXT_LEFT}" y="{rows[2]}"{text}>'
            f"{escape(fit_text(look.word, label_room, LABEL_SIZE))}</text>"
        )


def _ring(width: int, height: int) -> str:
    return (
        f'<rect class="graph-ring" x="-4" y="-4" width="{width + 8}" '
        f'height="{height + 8}" rx="11"/>'
    )


def _draw_arrows(
    layout: Layout, nodes: Mapping[str, Node], labels: Mapping[Edge, str]
) -> list[str]:
    """One path for each arrow, those to and from skipped steps dashed, and one tip a target."""
    names = layout.names
    drawn, tips, words = [], {}, []
    for arrow in layout.arrows:
        edge = (names[arrow.source], names[arrow.target])
        ends = [nodes.get(name) for name in edge]
        is_off = any(node is not None and node.status == "skipped" for node in ends)
        css = "graph-edge is-off" if is_off else "graph-edge"
        dashes = ' stroke-dasharray="4 3"' if is_off else ""
        drawn.append(f'<path class="{css}" d="{path_of(arrow)}"{dashes}/>')
        x, y = arrow.points[-1]
        tips[arrow.target] = f'<path class="graph-tip" d="{tip_at(x, y)}"/>'
        if label := labels.get(edge):
            words.append(
                f'<text class="graph-value" x="{x - 9}" y="{y - 5}" text-anchor="end" '
                f'fill="#545b69" stroke="none">{escape(label)}</text>'
            )
    return drawn + list(tips.values()) + words


def _draw_back_edges(layout: Layout, edges: Sequence[BackEdge]) -> list[str]:
    """Dashed arrows that leave a step below, run under everything, and rise into an earlier one."""
    drawn = []
    floor = layout.height + BACK_EDGE_DROP
    for edge in edges:
        source, target = layout.places.get(edge.source), layout.places.get(edge.target)
        if source is None or target is None:
            continue
        start, end = source.x + source.width // 2, target.x + target.width // 2
        rise = target.y + target.height // 2
        points = ((start, source.y + source.height // 2), (start, floor), (end, floor), (end, rise))
        drawn.append(
            f'<path class="graph-edge is-back" d="{rounded(points)}L{end} {rise + 3}" '
            'stroke-dasharray="4 3"/>'
            f'<path class="graph-tip is-back" d="{tip_up(end, rise)}"/>'
        )
        if edge.label:
            drawn.append(
                f'<text class="graph-back" x="{(start + end) // 2}" y="{floor + 16}" '
                f'text-anchor="middle">{escape(edge.label)}</text>'
            )
    return drawn


def _box_width(name: str) -> int:
    width = text_width(name, NAME_SIZE) + TEXT_LEFT + TEXT_RIGHT
    return min(WIDTH_AT_MOST, max(WIDTH_AT_LEAST, ceil(width)))


def _block_width(name: str, inside: Layout) -> int:
    """As wide as what stands inside, and wide enough for a head with its label."""
    head = _box_width(name) + TEXT_RIGHT + BLOCK_TIMES + BLOCK_LABEL
    return max(inside.width + 2 * BLOCK_PAD, head)
