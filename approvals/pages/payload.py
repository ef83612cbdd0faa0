"""What an agent wrote, as something to read: structure for JSON, Markdown for texts.

All of it is untrusted. Values are escaped; Markdown is rendered without raw HTML, images or remote
loads and then sanitised against a short list; lengths are bounded, and the raw JSON is beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import nh3
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

MOST_VALUES: Final = 1_500
MOST_ROWS: Final = 200
MOST_COLUMNS: Final = 10
DEEPEST: Final = 8
#: So deep an object still has headings; a deeper one is told in pairs.
PARTS_DEEPEST: Final = 2
LONGEST_TEXT: Final = 50_000
#: A longer text is folded, so that what stands after it is not pushed out of sight.
FOLD_ABOVE_CHARACTERS: Final = 3_000
FOLD_ABOVE_LINES: Final = 40

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_TAGS: Final = {
    *("p", "br", "hr", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote", "a"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
_HEADING: Final = re.compile(r"<(/?)h[1-6]>")


def render_payload(value: Any) -> SafeString:
    """Render a JSON value as a readable structure."""
    return _Renderer().value(value, 0)


def render_markdown(text: str) -> SafeString:
    """Render untrusted Markdown: no HTML of its own, no images, links to the web only."""
    html = nh3.clean(
        _MARKDOWN.render(text[:LONGEST_TEXT]),
        tags=_TAGS,
        attributes={"a": {"href", "title"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )
    # The page's own outline ends above; an agent's headings stand below it, all alike. What
    # scrolls sideways must be reached by keyboard.
    html = _HEADING.sub(r"<\1h4>", html).replace("<pre>", '<pre tabindex="0">')
    return mark_safe(html)  # noqa: S308 - nh3 has just cleaned it


class _Renderer:
    """Renders one payload, counting what it shows."""

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._tables = 0

    def value(self, value: Any, depth: int) -> SafeString:
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            return SafeString('<span class="muted">… in the raw JSON</span>')
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, Mapping):
            return self._object(value, depth)
        if isinstance(value, list):
            return self._list(value, depth)
        return _scalar(value)

    def _object(self, value: Mapping[str, Any], depth: int) -> SafeString:
        """Short values as pairs, then a part for each larger one.

        Their order says nothing: what is stored is sorted by key.
        """
        if not value:
            return SafeString('<span class="muted">empty</span>')
        first = sorted(self._first(value.items()), key=lambda item: _is_large(item[1]))
        parts = []
        for is_large, group in groupby(first, lambda item: _is_large(item[1])):
            rows = [(key, self.value(inner, depth + 1)) for key, inner in group]
            parts.append(_parts(rows) if is_large and depth < PARTS_DEEPEST else _pairs(rows))
        body = format_html_join("", "{}", ((part,) for part in parts))
        return body + _rest(len(value) - len(first))

    def _list(self, value: Sequence[Any], depth: int) -> SafeString:
        if not value:
            return SafeString('<span class="muted">empty</span>')
        if columns := _columns(value):
            return self._table(value, columns, depth)
        items = [(self.value(inner, depth + 1),) for inner in self._first(value)]
        body = format_html_join("", "<li>{}</li>", items)
        rest = _rest(len(value) - len(items))
        return format_html('<ol class="payload-list">{}</ol>{}', body, rest)

    def _table(
        self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], depth: int
    ) -> SafeString:
        self._tables += 1
        number = self._tables
        head = format_html_join("", '<th scope="col">{}</th>', ((name,) for name in columns))
        shown = [
            (
                format_html_join(
                    "",
                    "<td>{}</td>",
                    ((self.value(row.get(name, ""), depth + 1),) for name in columns),
                ),
            )
            for row in self._first(rows)
        ]
        return format_html(
            '<div class="payload-table" tabindex="0" role="region" aria-label="Table {}">'
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>{}",
            number,
            head,
            format_html_join("", "<tr>{}</tr>", shown),
            _rest(len(rows) - len(shown)),
        )

    def _first(self, values: Any) -> list[Any]:
        """As many of the values as may still be shown."""
        return list(values)[: max(1, min(MOST_ROWS, self._left))]


def _pairs(rows: Sequence[tuple[str, SafeString]]) -> SafeString:
    body = format_html_join("", "<dt>{}</dt><dd>{}</dd>", rows)
    return format_html('<dl class="payload">{}</dl>', body)


def _parts(rows: Sequence[tuple[str, SafeString]]) -> SafeString:
    part = '<div class="payload-part"><h4>{}</h4>{}</div>'
    return format_html_join("", part, rows)


def _is_large(value: Any) -> bool:
    """Whether a value wants the whole width, under a heading of its own."""
    if isinstance(value, str):
        return "\n" in value
    return isinstance(value, Mapping) or bool(isinstance(value, list) and _columns(value))


def _columns(values: Sequence[Any]) -> list[str]:
    """The columns of a list of flat objects that reads as a table; none where it does not."""
    if len(values) < 2 or not all(isinstance(each, Mapping) and each for each in values):
        return []
    columns = dict.fromkeys(key for each in values[:MOST_ROWS] for key in each)
    is_flat = all(
        not isinstance(inner, dict | list) for each in values[:MOST_ROWS] for inner in each.values()
    )
    return list(columns) if is_flat and len(columns) <= MOST_COLUMNS else []


def _text(text: str) -> SafeString:
    if not text.strip():
        return SafeString('<span class="muted">empty text</span>')
    lines = text.count("\n") + 1
    if lines == 1 and len(text) <= 300:
        return format_html("{}", text)
    rendered = format_html('<div class="prose">{}</div>', render_markdown(text))
    if len(text) > LONGEST_TEXT:
        rendered += _rest(len(text) - LONGEST_TEXT, "characters")
    if lines <= FOLD_ABOVE_LINES and len(text) <= FOLD_ABOVE_CHARACTERS:
        return rendered
    return format_html(
        '<details class="fold"><summary>Show the whole text: {} lines, {} characters</summary>'
        "{}</details>",
        f"{lines:,}",
        f"{len(text):,}",
        rendered,
    )


def _scalar(value: Any) -> SafeString:
    if value is None:
        return SafeString('<span class="muted">none</span>')
    if isinstance(value, bool):
        return SafeString("yes" if value else "no")
    return format_html("{}", repr(value) if isinstance(value, float) else str(value))


def _rest(count: int, noun: str = "more") -> SafeString:
    if count <= 0:
        return SafeString("")
    return format_html('<p class="small muted">… {} {} in the raw JSON</p>', f"{count:,}", noun)
