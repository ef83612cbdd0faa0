"""What differs between two JSON documents, as lines to read: path, before, after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from workflows.core.comparison import Stretch, compare
from workflows.core.differences import MISSING, Path, text_of, walk

MOST_DIFFERENCES: Final = 200
#: How many pairs of words are compared for one page; beyond them a text is marked as a whole.
MOST_PAIRS: Final = 40_000_000
MOST_SIGNS: Final = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a line; `is_changed` marks the words that differ."""

    text: str
    is_changed: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """One place that differs. A side is empty where the place did not exist.

    Attributes:
        place: the keys and positions, from 0, that lead to it.
    """

    path: str
    before: list[Part]
    after: list[Part]
    place: Path = ()


def find_differences(before: Any, after: Any) -> list[Difference]:
    """Compare two JSON values place by place, at most `MOST_DIFFERENCES` of them."""
    found: list[Difference] = []
    marker = Marker()
    for path, old, new in walk(before, after):
        if len(found) == MOST_DIFFERENCES:
            break
        sides = marker.mark(_text(old), _text(new))
        found.append(Difference(shown_path(path) or "Everything", *sides, path))
    return found


def shown_path(path: Path) -> str:
    """Return the keys to a place as people read them: positions count from 1."""
    return " › ".join(str(key + 1) if isinstance(key, int) else key for key in path)


def _text(value: Any) -> str:
    return "" if value is MISSING else text_of(value)


class Marker:
    """Marks the words that differ, for as long as the texts of one page leave it room."""

    def __init__(self) -> None:
        self._left = MOST_PAIRS

    def mark(self, before: str, after: str) -> tuple[list[Part], list[Part]]:
        """Split two texts into words and mark those that the other one has not."""
        if not before or not after:
            return _whole(before), _whole(after)
        old, new = _words(before), _words(after)
        self._left -= len(old) * len(new)
        if self._left < 0:
            return _whole(before), _whole(after)
        left: list[Part] = []
        right: list[Part] = []
        stretches = compare(old, new)
        for at, each in enumerate(stretches):
            # Signs alone that stand between two changes are read with them.
            is_between = 0 < at < len(stretches) - 1
            is_same = each.is_same and not (is_between and _is_short(old, each))
            for words, start, end, parts in (
                (old, each.start_old, each.end_old, left),
                (new, each.start_new, each.end_new, right),
            ):
                if start < end:
                    _add(parts, "".join(words[start:end]), not is_same)
        return left, right


def _is_short(words: list[str], stretch: Stretch) -> bool:
    """Tell whether a stretch holds no word, and only a few signs."""
    inside = words[stretch.start_old : stretch.end_old]
    return len(inside) <= MOST_SIGNS and not any(word[0].isalnum() for word in inside)


def _add(parts: list[Part], text: str, is_changed: bool) -> None:
    if parts and parts[-1].is_changed == is_changed:
        text = parts.pop().text + text
    parts.append(Part(text, is_changed))


def _whole(text: str) -> list[Part]:
    return [Part(text, True)] if text else []


def _words(text: str) -> list[str]:
    """Words and the signs between them; joined they are the text again."""
    words: list[str] = []
    current = ""
    for character in text:
        if character.isalnum() or character == "_":
            current += character
            continue
        if current:
            words.append(current)
        current = ""
        words.append(character)
    return [*words, current] if current else words
