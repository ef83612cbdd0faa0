"""Lists, a page or a stretch at a time, without counting what nobody looks at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from django.db.models import Q
from django.utils.dateparse import parse_datetime

from workflows.clock import in_utc

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: The database walks over what a page skips; a filter leads further than the ten-thousandth row.
LAST_PAGE = 200
LONGEST_WORDS = 200


class Rows(Protocol[T_co]):
    """What rows are taken from: a list, or a query that reads only what is taken."""

    def __getitem__(self, key: slice, /) -> Iterable[T_co]: ...


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of rows. `previous` and `next` are page numbers, 0 where there is none."""

    rows: list[T]
    number: int
    previous: int
    next: int


def read_words(text: str | None) -> str:
    """The words that somebody searches for; PostgreSQL knows no NUL."""
    return (text or "").replace("\0", "").strip()[:LONGEST_WORDS]


def take_page(rows: Rows[T], number: str | None, size: int = 50) -> Listing[T]:
    """Take one page of `rows`; what is no page number means the first page."""
    page = int(number) if number and number.isascii() and number.isdigit() else 1
    page = min(max(page, 1), LAST_PAGE)
    start = (page - 1) * size
    found = list(rows[start : start + size + 1])
    has_next = len(found) > size and page < LAST_PAGE
    return Listing(found[:size], page, page - 1, page + 1 if has_next else 0)


@dataclass(frozen=True, slots=True)
class Stretch(Generic[T]):
    """Rows from newest to oldest. `newer` and `older` name its edges for the address; "" is none.

    New rows shift nothing, and the last stretch is as quick to read as the first.
    """

    rows: list[T]
    newer: str
    older: str


def take_stretch(
    rows: Any, moment: str, *, before: str | None = None, after: str | None = None, size: int = 50
) -> Stretch[Any]:
    """Take the newest of `rows` by the column `moment`, or those next to an edge.

    Args:
        before, after: the edge of another stretch; what names none means the newest rows.
    """
    edge, is_backwards = _read_edge(after), True
    if edge is None:
        edge, is_backwards = _read_edge(before), False
    if edge is not None:
        sign = "gt" if is_backwards else "lt"
        at, pk = edge
        is_beyond = Q(**{f"{moment}__{sign}": at}) | Q(**{f"pk__{sign}": pk})
        rows = rows.filter(is_beyond, **{f"{moment}__{sign}e": at})
    order = (moment, "pk") if is_backwards else (f"-{moment}", "-pk")
    found = list(rows.order_by(*order)[: size + 1])
    has_more, found = len(found) > size, found[:size]
    if is_backwards:
        found.reverse()
    if not found:
        return Stretch([], "", "")
    has_newer = has_more if is_backwards else edge is not None
    has_older = True if is_backwards else has_more
    return Stretch(
        found,
        _edge(found[0], moment) if has_newer else "",
        _edge(found[-1], moment) if has_older else "",
    )


def _edge(row: Any, moment: str) -> str:
    return f"{getattr(row, moment).isoformat()}_{row.pk}"


def _read_edge(text: str | None) -> tuple[datetime, UUID] | None:
    at, _, pk = (text or "").rpartition("_")
    try:
        moment = parse_datetime(at)
        return (in_utc(moment), UUID(pk)) if moment else None
    except ValueError:
        return None
