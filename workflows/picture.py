"""The picture of a workflow: an SVG of links, drawn on the server.

Each step is a link that the keyboard reaches, in the order of the ranks, with its status in colour,
icon and word. Colours come from the style sheet by class, for the pages' policy allows no style
attributes; a picture that stands alone carries them as attributes instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
from typing import Final

from workflows.icons import ICONS, STEP_TYPE_ICONS
from workflows.layout import NODE_HEIGHT, Arrow, Layout, Place, lay_out
from workflows.wording import NEUTRAL, Look, status_look

MARGIN: Final = 10
CORNER: Final = 7
BACK_EDGE_DROP: Final = 22
WIDTH_AT_LEAST: Final = 122
WIDTH_AT_MOST: Final = 196
TEXT_LEFT: Final = 31
TEXT_RIGHT: Final = 8
NAME_SIZE: Final = 11.5
LABEL_SIZE: Final = 11.0
TIP: Final = 6

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
    """

    name: str
    step_type: str = "task"
    status: str = ""
    label: str = ""
    note: str = ""
    href: str = ""
    is_current: bool = False
    is_selected: bool = False

    def look(self) -> Look:
        """Tone, icon and word. A gate that nobody has passed yet shows its person."""
        own = STEP_TYPE_ICONS.get(self.step_type, "document")
        if not self.status:
            return Look(NEUTRAL, own, self.label or self.step_type)
        look = status_look(self.status)
        is_open = self.status in ("pending", "waiting")
        icon = own if is_open and self.step_type in ("approval", "condition") else look.icon
        return Look(look.tone, icon, self.label or look.word)


@dataclass(frozen=True, slots=True)
class BackEdge:
    """A dashed arrow back below the picture, such as what a request for changes does."""

    source: str
    target: str
    label: str = ""


def lay_out_steps(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> Layout:
    """The layout of a workflow's steps; it depends on the definition alone and can be kept."""
    return lay_out({name: _box_width(name) for name in names}, edges)


def draw_picture(
    nodes: Sequence[Node],
    edges: Iterable[tuple[str, str]],
    *,
    title: str,
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
        back_edges: dashed arrows drawn below the steps.
        layout: a kept result of `lay_out_steps` for the same names and edges.
        prefix: begins the ids in this picture; two on one page need different ones.
        is_standalone: carry colours and fonts, for a file that no style sheet reaches.
    """
    layout = layout or lay_out_steps((node.name for node in nodes), edges)
    by_name = {node.name: node for node in nodes}
    backs = _draw_back_edges(layout, [*back_edges, *(BackEdge(*loop) for loop in layout.loops)])
    drop = BACK_EDGE_DROP * 2 if backs else 0
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN + drop
    order = sorted(layout.places.items(), key=lambda item: (item[1].rank, item[1].y))
    steps = [
        _draw_node(by_name[name], place, prefix, is_standalone=is_standalone)
        for name, place in order
        if name in by_name
    ]
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="group" '
            f'aria-label="{escape(title)}" width="{width}" height="{height}" '
            f'viewBox="{-MARGIN} {-MARGIN} {width} {height}"{_root_style(is_standalone)}>',
            _draw_symbols(prefix, {node.look().icon for node in nodes}),
            f'<g class="graph-edges" aria-hidden="true"{_edge_style(is_standalone)}>',
            *_draw_arrows(layout, by_name),
            *backs,
            "</g>",
            *steps,
            "</svg>",
        )
    )


def _root_style(is_standalone: bool) -> str:
    fonts = ' font-family="Inter,system-ui,sans-serif" font-size="11" fill="none"'
    return fonts if is_standalone else ""


def _edge_style(is_standalone: bool) -> str:
    return ' fill="none" stroke="#7d8494" stroke-width="1.25"' if is_standalone else ""


def _draw_symbols(prefix: str, icons: Iterable[str]) -> str:
    symbols = "".join(
        f'<symbol id="{prefix}-{icon}" viewBox="0 0 16 16">{ICONS[icon]}</symbol>'
        for icon in sorted(icons)
    )
    return f"<defs>{symbols}</defs>"


def _draw_node(node: Node, place: Place, prefix: str, *, is_standalone: bool) -> str:
    look = node.look()
    state = (" is-current" if node.is_current else "") + (
        " is-selected" if node.is_selected else ""
    )
    room = place.width - TEXT_LEFT - TEXT_RIGHT
    title = ". ".join(filter(None, (f"{node.name}: {look.word}", node.note)))
    tag = f'a href="{escape(node.href)}"' if node.href else "g"
    ink, ground = STANDALONE.get(look.tone, STANDALONE[NEUTRAL])
    box, icon, text = "", "", ""
    if is_standalone:
        box = f' fill="{ground}" stroke="{ink}"'
        icon, text = f' stroke="{ink}" stroke-width="1.5"', f' fill="{ink}"'
    chosen = ' aria-current="true"' if node.is_selected or node.is_current else ""
    ring = (
        f'<rect class="graph-ring" x="-4" y="-4" width="{place.width + 8}" '
        f'height="{NODE_HEIGHT + 8}" rx="11"/>'
    )
    return (
        f'<{tag} class="graph-node tone-{look.tone} is-{escape(node.status or "plain")}{state}"'
        f'{chosen} transform="translate({place.x} {place.y - NODE_HEIGHT // 2})">'
        f"<title>{escape(title)}</title>{ring}"
        f'<rect class="graph-box" width="{place.width}" height="{NODE_HEIGHT}" rx="8"{box}/>'
        f'<use href="#{prefix}-{look.icon}" x="9" y="14" width="16" height="16"{icon}/>'
        f'<text class="graph-name" x="{TEXT_LEFT}" y="19"{text}>'
        f"{escape(_fit(node.name, room, NAME_SIZE))}</text>"
        f'<text class="graph-label" x="{TEXT_LEFT}" y="34"{text}>'
        f"{escape(_fit(look.word, room, LABEL_SIZE))}</text></{tag[0]}>"
    )


def _draw_arrows(layout: Layout, nodes: Mapping[str, Node]) -> list[str]:
    """One path for each arrow, those to and from skipped steps dashed, and one tip a target."""
    names = layout.names
    drawn, tips = [], {}
    for arrow in layout.arrows:
        ends = [nodes.get(names[vertex]) for vertex in (arrow.source, arrow.target)]
        is_off = any(node is not None and node.status == "skipped" for node in ends)
        css = "graph-edge is-off" if is_off else "graph-edge"
        dashes = ' stroke-dasharray="4 3"' if is_off else ""
        drawn.append(f'<path class="{css}" d="{_path(arrow)}"{dashes}/>')
        x, y = arrow.points[-1]
        tips[arrow.target] = f'<path class="graph-tip" d="{_tip(x, y)}"/>'
    return drawn + list(tips.values())


def _tip(x: int, y: int) -> str:
    return f"M{x - TIP} {y - 3.5}L{x} {y}L{x - TIP} {y + 3.5}Z"


def _path(arrow: Arrow) -> str:
    points = arrow.points
    (x, y), (end_x, end_y) = points[0], points[-1]
    if arrow.is_curve:
        bend = max(16, (end_x - x) // 2)
        return f"M{x} {y}C{x + bend} {y} {end_x - bend} {end_y} {end_x - 2} {end_y}"
    parts = [f"M{x} {y}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(CORNER, _length(before, corner) / 2, _length(corner, after) / 2)
        parts.append("L{:g} {:g}".format(*_towards(corner, before, radius)))
        parts.append("Q{} {} {:g} {:g}".format(*corner, *_towards(corner, after, radius)))
    parts.append(f"L{end_x - 2} {end_y}")
    return "".join(parts)


def _length(one: tuple[int, int], other: tuple[int, int]) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(corner: tuple[int, int], point: tuple[int, int], radius: float) -> tuple[float, float]:
    length = _length(corner, point) or 1
    return (
        corner[0] + (point[0] - corner[0]) * radius / length,
        corner[1] + (point[1] - corner[1]) * radius / length,
    )


def _draw_back_edges(layout: Layout, edges: Sequence[BackEdge]) -> list[str]:
    """Dashed arrows that leave a step below, run under everything, and rise into an earlier one."""
    drawn = []
    floor = layout.height + BACK_EDGE_DROP
    for edge in edges:
        source, target = layout.places.get(edge.source), layout.places.get(edge.target)
        if source is None or target is None:
            continue
        start, end = source.x + source.width // 2, target.x + target.width // 2
        rise = target.y + NODE_HEIGHT // 2
        points = ((start, source.y + NODE_HEIGHT // 2), (start, floor), (end, floor), (end, rise))
        path = _path(Arrow(0, 0, points)).rpartition("L")[0] + f"L{end} {rise + 3}"
        tip = f"M{end - 3.5} {rise + TIP}L{end} {rise}L{end + 3.5} {rise + TIP}Z"
        drawn.append(
            f'<path class="graph-edge is-back" d="{path}" stroke-dasharray="4 3"/>'
            f'<path class="graph-tip is-back" d="{tip}"/>'
        )
        if edge.label:
            drawn.append(
                f'<text class="graph-back" x="{(start + end) // 2}" y="{floor + 16}" '
                f'text-anchor="middle">{escape(edge.label)}</text>'
            )
    return drawn


# The advance widths of the printable ASCII characters in the pages' font, in hundredths of an em.
# fmt: off
_WIDTHS: Final = (
    26, 31, 51, 64, 65, 100, 66, 32, 37, 37, 53, 67, 31, 46, 31, 38, 65, 42, 62, 63, 66, 61, 64, 57,
    64, 64, 31, 32, 67, 67, 67, 54, 99, 72, 66, 74, 72, 60, 59, 75, 75, 27, 58, 70, 57, 92, 76, 77,
    64, 77, 65, 65, 66, 74, 72, 101, 71, 71, 65, 37, 38, 37, 48, 47, 35, 57, 62, 58, 62, 59, 39, 62,
    61, 26, 26, 57, 26, 90, 61, 61, 62, 62, 39, 54, 35, 61, 58, 84, 56, 58, 56, 45, 35, 45, 67,
)
# fmt: on
_WIDTH_ELSEWHERE: Final = 62
_WIDTH_FULL: Final = 100


def _text_width(text: str, size: float) -> float:
    """A text's width in pixels; what is not ASCII is estimated."""
    total = 0
    for character in text:
        code = ord(character)
        if 32 <= code < 127:
            total += _WIDTHS[code - 32]
        else:
            total += _WIDTH_FULL if code > 0x2E7F else _WIDTH_ELSEWHERE
    return total * size / 100


def _box_width(name: str) -> int:
    width = _text_width(name, NAME_SIZE) + TEXT_LEFT + TEXT_RIGHT
    return min(WIDTH_AT_MOST, max(WIDTH_AT_LEAST, ceil(width)))


def _fit(text: str, room: float, size: float) -> str:
    """The text, cut with an ellipsis where it would leave its box."""
    if _text_width(text, size) <= room:
        return text
    room -= size
    for index, character in enumerate(text):
        room -= _text_width(character, size)
        if room < 0:
            return text[:index].rstrip() + "…"
    return text
