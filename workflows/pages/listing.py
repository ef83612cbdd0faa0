"""Lists, a page at a time, without counting what nobody looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet

T = TypeVar("T", bound=Model)

#: The database walks over what a page skips; a filter leads further than the ten-thousandth row.
LAST_PAGE = 200
LONGEST_WORDS = 200


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


def take_page(rows: QuerySet[T], number: str | None, size: int = 50) -> Listing[T]:
    """Take one page of `rows`; what is no page number means the first page."""
    page = int(number) if number and number.isascii() and number.isdigit() else 1
    page = min(max(page, 1), LAST_PAGE)
    start = (page - 1) * size
    found = list(rows[start : start + size + 1])
    has_next = len(found) > size and page < LAST_PAGE
    return Listing(found[:size], page, page - 1, page + 1 if has_next else 0)
