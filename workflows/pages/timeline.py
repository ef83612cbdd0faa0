"""The timeline of a run: a bar for each step, on an axis that shortens waits for people.

Work keeps its proportions. A stretch in which nothing but people is awaited gets at most a share
of the axis, or an hour's wait would squeeze minutes of work into nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, Self

from workflows.models import WorkflowStepExecution
from workflows.services.timeline import Attempt, works
from workflows.wording import status_look

#: The most that one wait takes of the axis, as a share of all work.
WAIT_SHARE: Final = 0.08
#: How long the axis is, in the units of the bars.
AXIS: Final = 120.0
THINNEST: Final = 1.5

#: As which status an attempt is drawn that was not its step's last word.
_DRAWN_AS: Final = {"asked": "completed", "abandoned": "cancelled"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when something took place, in seconds; `is_wait`: nothing worked meanwhile."""

    start: float
    end: float
    is_wait: bool = False

    @classmethod
    def between(cls, start: datetime, end: datetime, *, is_wait: bool) -> Self:
        """Return the stretch between two moments; it ends no earlier than it starts."""
        return cls(start.timestamp(), max(start, end).timestamp(), is_wait)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the time that a step took. `tone`: of its bar; "" where none is drawn."""

    stretch: Stretch
    tone: str


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


def parts_of(row: WorkflowStepExecution, attempts: Sequence[Attempt], now: datetime) -> list[Part]:
    """Return what the time of a step went to, in one revision, up to `now` if it goes on.

    `attempts` are all of the step's, in their order, or none where it had no more than one.
    """
    if row.started_at is None:
        return []
    end = row.completed_at or now
    is_wait = not works(row)
    begun = [(each.started_at, each) for each in attempts if each.started_at]
    if not begun:
        whole = Stretch.between(row.started_at, end, is_wait=is_wait or row.status == "waiting")
        return [Part(whole, status_look(row.status).tone)]
    ends = [*(start for start, _ in begun[1:]), end]
    parts: list[Part] = []
    for (start, attempt), until in zip(begun, ends, strict=True):
        over = min(attempt.ended_at or until, until)
        status = _DRAWN_AS.get(attempt.outcome, attempt.outcome)
        if over == end:  # it runs, or its step has ended with it
            status = row.status
        parts.append(Part(Stretch.between(start, over, is_wait=is_wait), status_look(status).tone))
        if attempt.outcome == "asked":
            parts.append(
                Part(Stretch.between(over, until, is_wait=True), status_look("waiting").tone)
            )
        elif over < until:
            # The pause before a retry is no wait for people: it keeps its length.
            parts.append(Part(Stretch.between(over, until, is_wait=is_wait), ""))
    return parts


def covered_seconds(stretches: Iterable[Stretch]) -> float:
    """Return how much time stretches cover together; what several cover counts once."""
    covered, reached = 0.0, float("-inf")
    for each in sorted(stretches, key=lambda each: each.start):
        covered += max(0.0, each.end - max(each.start, reached))
        reached = max(reached, each.end)
    return covered


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
