"""Two sequences compared: what they have in common, in a time that nothing in them can stretch.

The longest common subsequence by the bits of whole numbers (Hyyrö, 2004): a row for each item of
the one, with a bit for each of the other, so that the time depends on the lengths alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

#: How many pairs are compared; where there are more, everything counts as changed.
MOST_PAIRS: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """The items ``old[start_old:end_old]`` that are, or become, ``new[start_new:end_new]``."""

    is_same: bool
    start_old: int
    end_old: int
    start_new: int
    end_new: int


def compare(old: Sequence[str], new: Sequence[str], most_pairs: int = MOST_PAIRS) -> list[Stretch]:
    """Return the stretches of two sequences in their order, by turns the same and changed.

    Where more than `most_pairs` would have to be compared between what is the same at the
    beginning and at the end, all of it counts as changed.
    """
    found: list[Stretch] = []
    at_old = at_new = 0
    for i, j, length in [*_matches(old, new, most_pairs), (len(old), len(new), 0)]:
        if (i, j) != (at_old, at_new):
            found.append(Stretch(False, at_old, i, at_new, j))
        at_old, at_new = i + length, j + length
        if not length:
            continue
        if found and found[-1].is_same:
            last = found.pop()
            i, j = last.start_old, last.start_new
        found.append(Stretch(True, i, at_old, j, at_new))
    return found


def same_beginning(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _matches(
    old: Sequence[str], new: Sequence[str], most_pairs: int
) -> Iterator[tuple[int, int, int]]:
    """Yield where something is the same on both sides, and for how many items."""
    head, most = 0, min(len(old), len(new))
    while head < most and old[head] == new[head]:
        head += 1
    tail, most = 0, most - head
    while tail < most and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    yield 0, 0, head
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(middle_old) * len(middle_new) <= most_pairs:
        for i, j in _common(middle_old, middle_new):
            yield head + i, head + j, 1
    yield len(old) - tail, len(new) - tail, tail


def _common(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return the positions of a longest common subsequence."""
    places: dict[str, int] = {}
    for j, item in enumerate(new):
        places[item] = places.get(item, 0) | 1 << j
    full = (1 << len(new)) - 1
    row, rows = full, []
    for item in old:
        if both := row & places.get(item, 0):
            row = (row + both | row - both) & full
        rows.append(row)
    found = []
    i, j = len(old), len(new)
    while i and j:
        if rows[i - 1] >> j - 1 & 1:
            j -= 1
            continue
        i -= 1
        if not i or rows[i - 1] >> j - 1 & 1:
            j -= 1
            found.append((i, j))
    return found[::-1]
