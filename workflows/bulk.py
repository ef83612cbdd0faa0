"""Many rows in one statement, the same on both databases: the engine's way to write.

The ORM's own bulk operations cost several times more a row, in Python and in SQL text. On
PostgreSQL rows travel as one array a column (``unnest``), on SQLite as one prepared statement
run for each row. Everything else in this project goes through the ORM.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import connection

from workflows.core.canonical import dumps_canonical

Row = Sequence[Any]
ENGINE_CHANNEL = "mgx_engine"
EVENTS_CHANNEL = "mgx_events"


class Column(NamedTuple):
    """A column and its type: ``uuid``, ``text``, ``bigint``, ``timestamptz`` or ``jsonb``.

    The value of a ``jsonb`` column is JSON as Python objects, or a ``RawJson``.
    """

    name: str
    type: str


class RawJson(str):
    """JSON that is text already."""

    __slots__ = ()


def insert_rows(table: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Insert ``rows``."""
    _run(_insert(table, tuple(columns)), columns, rows)


def upsert_rows(
    table: str, columns: Sequence[Column], rows: Sequence[Row], *, update: Sequence[str], guard: str
) -> None:
    """Insert ``rows``, or where one with the same ``id`` exists set its columns ``update``.

    ``guard`` is a condition on the existing row; where it does not hold, the row stays.
    """
    sql = _insert(table, tuple(columns))
    assignments = ", ".join(f"{name} = excluded.{name}" for name in update)
    _run(f"{sql} ON CONFLICT (id) DO UPDATE SET {assignments} WHERE {guard}", columns, rows)


def take_event_numbers(counts: Mapping[UUID, int]) -> dict[UUID, int]:
    """Move each workspace's counter on by its count; return where each stood before.

    It also tells the listeners of events, once this transaction has committed.
    """
    before = {}
    wake = f", pg_notify('{EVENTS_CHANNEL}', '')" if _is_postgresql() else ""
    with connection.cursor() as cursor:
        for workspace_id in sorted(counts):
            cursor.execute(
                "UPDATE workflows_eventstream SET last_seq = last_seq + %s "  # noqa: S608
                f"WHERE workspace_id = %s RETURNING last_seq{wake}",
                [counts[workspace_id], _identifier(workspace_id)],
            )
            before[workspace_id] = cursor.fetchone()[0] - counts[workspace_id]
    return before


def wake_engine() -> None:
    """Tell the drivers to look for work, once this transaction has committed.

    On SQLite they notice the commit itself.
    """
    if _is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [ENGINE_CHANNEL])


@cache
def _insert(table: str, columns: tuple[Column, ...]) -> str:
    names = ", ".join(f'"{column.name}"' for column in columns)
    if _is_postgresql():
        arrays = ", ".join(f"%s::{column.type}[]" for column in columns)
        return f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608
    places = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608


def _run(sql: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    if not rows:
        return
    connection.ensure_connection()
    raw: Any = connection.connection
    converted = [
        _column(values, column.type) for column, values in zip(columns, zip(*rows, strict=True))
    ]
    if _is_postgresql():
        # A cursor that binds on the server: the statement is planned once, arrays go as they are.
        with psycopg.Cursor(raw) as cursor:
            cursor.execute(sql, converted)
    else:
        raw.executemany(sql, zip(*converted, strict=True))


def _column(values: Sequence[Any], kind: str) -> list[Any]:
    """Return one column's values as the database's driver takes them."""
    if kind == "jsonb":
        return [_json(value) for value in values]
    if not _is_postgresql() and (convert := _SQLITE.get(kind)):
        return [None if value is None else convert(value) for value in values]
    return list(values)


def _json(value: Any) -> str | None:
    if value is None or isinstance(value, RawJson):
        return value
    return "{}" if value == {} else dumps_canonical(value)


def _identifier(value: UUID) -> Any:
    return value if _is_postgresql() else value.hex


def _timestamp(value: datetime) -> str:
    """Return ``value`` in the form in which Django keeps it in SQLite: UTC, without a zone."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


_SQLITE: dict[str, Callable[[Any], Any]] = {
    "uuid": lambda value: value.hex,
    "timestamptz": _timestamp,
}


@cache
def _is_postgresql() -> bool:
    return bool(connection.vendor == "postgresql")
