"""What differs between two JSON documents, as lines to read: path, before, after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

MOST_DIFFERENCES: Final = 200
LONGEST_SIDE: Final = 2_000
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a line; `is_changed` marks the words that differ."""

    text: str
    is_changed: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """One place that differs. A side is empty where the place did not exist."""

    path: str
    before: list[Part]
    after: list[Part]


def find_differences(before: Any, after: Any) -> list[Difference]:
    """Compare two JSON values place by place, at most `MOST_DIFFERENCES` of them."""
    found: list[Difference] = []
    for path, old, new in _walk(before, after, ()):
        if len(found) == MOST_DIFFERENCES:
            break
        sides = _mark(_text(old), _text(new))
        found.append(Difference(" › ".join(path) or "Everything", *sides))
    return found


def _walk(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from _walk(before.get(key, _MISSING), after.get(key, _MISSING), (*path, str(key)))
    elif _are_long_lists(before, after):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else _MISSING
            new = after[index] if index < len(after) else _MISSING
            yield from _walk(old, new, (*path, str(index + 1)))
    elif before != after or type(before) is not type(after):
        yield path, before, after


def _are_long_lists(before: Any, after: Any) -> bool:
    """Lists of plain values read better as one line; those of objects place by place."""
    if not isinstance(before, list) or not isinstance(after, list):
        return False
    return any(isinstance(each, dict | list) for each in [*before, *after])


def _text(value: Any) -> str:
    if value is _MISSING:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SIDE else f"{text[:LONGEST_SIDE]}…"


def _mark(before: str, after: str) -> tuple[list[Part], list[Part]]:
    """Split two texts into words and mark those that the other one has not."""
    if not before or not after:
        return _whole(before), _whole(after)
    old, new = _words(before), _words(after)
    left: list[Part] = []
    right: list[Part] = []
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if i < j:
            left.append(Part("".join(old[i:j]), tag != "equal"))
        if k < m:
            right.append(Part("".join(new[k:m]), tag != "equal"))
    return left, right


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
