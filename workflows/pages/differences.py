"""What differs between two JSON documents, as lines to read: path, before, after."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from workflows.core.comparison import Stretch, compare, same_beginning
from workflows.core.differences import LONGEST_VALUE, Path, texts_of, walk

MOST_DIFFERENCES: Final = 200
#: How much of a long stretch that is the same is shown beside each change in it.
BESIDE_CHANGE: Final = 200
#: How many pairs of words are compared for one page; beyond them a text is marked as a whole.
MOST_PAIRS: Final = 40_000_000
MOST_SIGNS: Final = 3

#: Words and the signs between them; joined they are the text again.
_WORD: Final = re.compile(r"\w+|\W")


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
        found.append(marker.difference(old, new, path))
    return found


def shown_path(path: Path) -> str:
    """Return the keys to a place as people read them: positions count from 1."""
    return " › ".join(str(key + 1) if isinstance(key, int) else key for key in path)


def shortened(text: str) -> str:
    """Return a text with its end left out where it is too long, saying how much that is."""
    left_out = len(text) - LONGEST_VALUE
    return text if left_out <= 0 else f"{text[:LONGEST_VALUE]}… {left_out:,} more characters"


class Marker:
    """Marks the words that differ, for as long as the texts of one page leave it room."""

    def __init__(self) -> None:
        self._left = MOST_PAIRS

    def difference(self, before: Any, after: Any, place: Path) -> Difference:
        """Return how two values at a place differ; `MISSING` is on the side that has none."""
        sides = self.mark(*texts_of(before, after))
        return Difference(shown_path(place) or "Everything", *sides, place)

    def mark(self, before: str, after: str) -> tuple[list[Part], list[Part]]:
        """Split two texts into words and mark those that the other one has not.

        Of long texts the changes are shown, each with what stands beside it.
        """
        if not before or not after:
            return _whole(before), _whole(after)
        old, new = _WORD.findall(before), _WORD.findall(after)
        stretches = self._compare(old, new)
        is_long = max(len(before), len(after)) > LONGEST_VALUE
        left: list[Part] = []
        right: list[Part] = []
        for at, each in enumerate(stretches):
            is_last = at == len(stretches) - 1
            gone = "".join(old[each.start_old : each.end_old])
            come = "".join(new[each.start_new : each.end_new])
            # Signs alone that stand between two changes are read with them.
            if each.is_same and (at == 0 or is_last or not _is_short(old, each)):
                same = len(gone)
            else:
                # One endless word, or more words than could be compared, may begin alike.
                same = same_beginning(gone, come) if is_long else 0
                same = same if same > BESIDE_CHANGE else 0
            shared = gone[:same]
            if is_long:
                ends = is_last and each.is_same
                shared = _beside_changes(shared, is_first=at == 0, is_last=ends)
            for parts, text in ((left, gone), (right, come)):
                _add(parts, shared, False)
                _add(parts, text[same:], True)
        return _bounded(left), _bounded(right)

    def _compare(self, old: list[str], new: list[str]) -> list[Stretch]:
        stretches = compare(old, new, self._left)
        changed = [each for each in stretches if not each.is_same]
        if changed:
            first, last = changed[0], changed[-1]
            pairs = (last.end_old - first.start_old) * (last.end_new - first.start_new)
            # What was more than there is room for was not compared, and took none.
            self._left -= pairs if pairs <= self._left else 0
        return stretches


def _is_short(words: list[str], stretch: Stretch) -> bool:
    """Tell whether a stretch holds no word, and only a few signs."""
    inside = words[stretch.start_old : stretch.end_old]
    return len(inside) <= MOST_SIGNS and not any(word[0].isalnum() for word in inside)


def _beside_changes(text: str, *, is_first: bool, is_last: bool) -> str:
    """Return of a stretch that is the same what stands beside the changes around it."""
    before = "" if is_first else text[:BESIDE_CHANGE]
    after = "" if is_last else text[-BESIDE_CHANGE:]
    return text if len(text) <= len(before) + len(after) else f"{before}…{after}"


def _add(parts: list[Part], text: str, is_changed: bool) -> None:
    if not text:
        return
    if parts and parts[-1].is_changed == is_changed:
        text = parts.pop().text + text
    parts.append(Part(text, is_changed))


def _bounded(parts: list[Part]) -> list[Part]:
    """Cut a line where it becomes too long: what is left out is told, and counts as changed."""
    room = LONGEST_VALUE
    for at, part in enumerate(parts):
        if len(part.text) > room:
            left_out = sum(len(each.text) for each in parts[at:]) - room
            shown = Part(part.text[:room], part.is_changed)
            return [*parts[:at], shown, Part(f"… {left_out:,} more characters", True)]
        room -= len(part.text)
    return parts


def _whole(text: str) -> list[Part]:
    return [Part(shortened(text), True)] if text else []
