"""The timeline of a run: a bar for each step, on an axis that shortens waits for people.

Work keeps its proportions. A stretch in which nothing but people is awaited gets at most a share
of the axis, or an hour's wait would squeeze minutes of work into nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from workflows.services.timeline import Stretch

#: The most that one wait takes of the axis, as a share of all work.
WAIT_SHARE: Final = 0.08
#: How long the axis is, in the units of the bars.
AXIS: Final = 120.0
THINNEST: Final = 1.5


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar on the axis, from 0 to `AXIS`."""

    x: float
    width: float


class Timeline:
    """The axis of a run, made of all that took place in it."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self.has_shortened = False
        moments = sorted({moment for each in stretches for moment in (each.start, each.end)})
        gaps = [after - before for before, after in pairwise(moments)]
        is_work = _where_work_is(stretches, moments)
        work = sum(gap for gap, worked in zip(gaps, is_work, strict=True) if worked)
        most = work * WAIT_SHARE if work else max(gaps, default=0.0)
        self._moments = moments
        self._at = [0.0]
        for gap, worked in zip(gaps, is_work, strict=True):
            shown = gap if worked else min(gap, most)
            self.has_shortened = self.has_shortened or shown < gap
            self._at.append(self._at[-1] + shown)

    @property
    def seconds(self) -> float:
        """How much time the axis shows."""
        return self._at[-1]

    def bar(self, stretch: Stretch) -> Bar:
        """Place a stretch on the axis; even the shortest stays visible."""
        length = self._at[-1] or 1.0
        start, end = (self._place(each) * AXIS / length for each in (stretch.start, stretch.end))
        width = max(end - start, THINNEST)
        return Bar(round(min(start, AXIS - width), 2), round(width, 2))

    def _place(self, moment: float) -> float:
        """Where a moment is; one between two that the axis knows stands between them."""
        index = max(0, bisect_right(self._moments, moment) - 1)
        if index + 1 >= len(self._moments) or moment <= self._moments[index]:
            return self._at[index]
        start, end = self._moments[index : index + 2]
        share = (moment - start) / (end - start)
        return self._at[index] + share * (self._at[index + 1] - self._at[index])


def _where_work_is(stretches: Sequence[Stretch], moments: Sequence[float]) -> list[bool]:
    """For each stretch between two moments, whether anything worked in it."""
    if not moments:
        return []
    index = {moment: position for position, moment in enumerate(moments)}
    change = [0] * len(moments)
    for each in stretches:
        if not each.is_wait:
            change[index[each.start]] += 1
            change[index[each.end]] -= 1
    working, result = 0, []
    for step in change[:-1]:
        working += step
        result.append(working > 0)
    return result
