"""How agents did over a period, counted by the database from the places that they held.

Percentiles are exact (nearest rank), as those of workflows are; each figure is one query, however
many agents there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from agents.models import AgentReservation


class Period(NamedTuple):
    """A time that is looked back on, and the even parts that it is drawn in."""

    word: str
    length: timedelta
    parts: int
    part: str


PERIODS: Final = {
    "day": Period("24 h", timedelta(hours=24), 24, "hour"),
    "week": Period("7 days", timedelta(days=7), 28, "6 hours"),
    "month": Period("30 days", timedelta(days=30), 30, "day"),
}
#: A row's identifier is of the moment that it was made, by a clock that may differ this much.
_CLOCKS_DIFFER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Performance:
    """What attempts came to. `failed` counts those too that another agent took over.

    `median` and `p95`: how long those took that ended, in seconds.
    """

    finished: int = 0
    failed: int = 0
    median: float | None = None
    p95: float | None = None

    @property
    def success(self) -> str:
        """The share that did not fail, never rounded up; a dash where none ended."""
        if not self.finished:
            return "—"
        share = floor((self.finished - self.failed) * 1_000 / self.finished) / 10
        return f"{share:.0f} %" if share in (0, 100) else f"{share:.1f} %"


class Part(NamedTuple):
    """One part of a period."""

    completed: int
    failed: int


class Bar(NamedTuple):
    """A bar of a drawing that is as wide as the period has parts, and 20 high."""

    x: float
    y: float
    height: float
    tone: str


@dataclass(frozen=True, slots=True)
class Course:
    """How many attempts ended in each part of a period."""

    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        return sum(part.completed + part.failed for part in self.parts)

    @property
    def busiest(self) -> int:
        """The most that ended in one part."""
        return max(part.completed + part.failed for part in self.parts)

    def bars(self) -> Iterator[Bar]:
        """Yield the bars: what failed stands on what completed."""
        scale = 20 / max(self.busiest, 1)
        for at, (completed, failed) in enumerate(self.parts):
            if completed:
                yield Bar(at + 0.1, 20 - completed * scale, completed * scale, "completed")
            if failed:
                yield Bar(at + 0.1, 20 - (completed + failed) * scale, failed * scale, "failed")


class Performances:
    """How the agents of a workspace did from `now - period` on, or one of them alone."""

    def __init__(
        self, workspace_id: UUID, period: Period, now: datetime, agent_id: UUID | None = None
    ) -> None:
        self._workspace_id = workspace_id
        self._agent_id = agent_id
        self._period = period
        self._since = now - period.length

    def together(self) -> Performance:
        """Return how all of them did together."""
        return self._performances("workspace_id").get(self._workspace_id, Performance())

    def of_each(self) -> dict[UUID, Performance]:
        """Return how each of them did that ended anything."""
        return self._performances("agent_instance_id")

    def courses(self) -> dict[UUID, Course]:
        """Return the course of each of them that ended anything."""
        width = self._period.length.total_seconds() / self._period.parts
        counted: dict[UUID, list[Part]] = {}
        for agent, at, completed, failed in self._ask(
            "SELECT agent_instance_id, part, sum(completed), sum(1 - completed) FROM ("
            f"SELECT agent_instance_id, {_whole(_seconds('%s', 'r.reserved_at'), width)} AS part,"
            f" CASE WHEN r.outcome = 'completed' THEN 1 ELSE 0 END AS completed {self._rows})"
            " AS placed GROUP BY agent_instance_id, part",
            self._moment(self._since),
        ):
            parts = counted.setdefault(_uuid(agent), [Part(0, 0)] * self._period.parts)
            place = min(max(int(at), 0), self._period.parts - 1)
            old = parts[place]
            parts[place] = Part(old.completed + int(completed), old.failed + int(failed))
        return {agent: Course(tuple(parts)) for agent, parts in counted.items()}

    def _performances(self, group: str) -> dict[UUID, Performance]:
        rows = self._ask(
            f"SELECT {group}, count(*), sum(CASE WHEN outcome = 'completed' THEN 0 ELSE 1 END),"
            " max(CASE WHEN place = (n + 1) / 2 THEN seconds END),"
            " max(CASE WHEN place = (n * 95 + 99) / 100 THEN seconds END) FROM ("
            f"SELECT {group}, outcome, {_seconds_held()} AS seconds,"
            f" row_number() OVER (PARTITION BY {group} ORDER BY {_seconds_held()}) AS place,"
            f" count(*) OVER (PARTITION BY {group}) AS n {self._rows}) AS timed GROUP BY {group}"
        )
        return {
            _uuid(key): Performance(count, int(failed), median, p95)
            for key, count, failed, median, p95 in rows
        }

    @property
    def _rows(self) -> str:
        of_agent = " AND r.agent_instance_id = %s" if self._agent_id else ""
        return (
            "FROM agents_agentreservation r WHERE r.id >= %s AND r.workspace_id = %s"
            " AND r.reserved_at >= %s AND r.released_at IS NOT NULL"
            f" AND r.outcome IN ('completed', 'failed', 'moved'){of_agent}"
        )

    def _ask(self, sql: str, *first: Any) -> list[Any]:
        """Run a query over the rows; `first` stand before their own parameters."""
        ids = [self._workspace_id] + ([self._agent_id] if self._agent_id else [])
        workspace, *agent = (_key(each) for each in ids)
        since = self._moment(self._since)
        with connection.cursor() as cursor:
            cursor.execute(sql, [*first, _key(earliest_id(self._since)), workspace, since, *agent])
            return list(cursor.fetchall())

    @staticmethod
    def _moment(moment: datetime) -> Any:
        return connection.ops.adapt_datetimefield_value(moment)


def earliest_id(moment: datetime) -> UUID:
    """Return what no identifier is below that was made from `moment` on: rows are found by it."""
    milliseconds = int((moment - _CLOCKS_DIFFER).timestamp() * 1_000)
    return UUID(int=milliseconds << 80)


def _key(value: UUID) -> Any:
    return AgentReservation._meta.pk.get_db_prep_value(value, connection)


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _seconds(start: str, end: str) -> str:
    """Return the expression for the time between two moments."""
    if connection.vendor == "postgresql":
        return f"EXTRACT(EPOCH FROM {end} - {start}::timestamptz)::double precision"
    return f"(julianday({end}) - julianday({start})) * 86400.0"


def _seconds_held() -> str:
    return _seconds("r.reserved_at", "r.released_at")


def _whole(seconds: str, width: float) -> str:
    """Return the expression for how many times `width` fits into some seconds."""
    whole = "bigint" if connection.vendor == "postgresql" else "integer"
    floored = "floor" if connection.vendor == "postgresql" else ""
    return f"CAST({floored}({seconds} / {width}) AS {whole})"
