"""Many rows in one statement, the same on both databases: the engine's way to write.

The ORM's own bulk operations cost several times more a row, in Python and in SQL text. On
PostgreSQL rows travel as one array a column (``unnest``), on SQLite as one prepared statement
run for each row. So do decisions and starts, which people and programs wait for; everything else
in this project goes through the ORM.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connection
from django.db.models import Model

from workflows.core.canonical import dumps_canonical
from workflows.dialects import RawJson, array, array_of, sqlite_column, sqlite_parameter

Row = Sequence[Any]
Rows = list[tuple[Any, ...]]
Query = tuple[str, Sequence[Any]]
#: How much JSON one statement carries, in characters. PostgreSQL takes a gigabyte in all, and each
#: character may be four bytes there.
_LARGEST = 16 * 2**20
ENGINE_CHANNEL = "mgx_engine"
EVENTS_CHANNEL = "mgx_events"


class _Part(NamedTuple):
    """A statement, or with others a part of one, which can refer to it as ``name``.

    A query (``is_query``) runs only as the last part.
    """

    name: str
    sql: str
    parameters: Sequence[Any]
    is_query: bool = False


class _Sending(threading.local):
    """What this thread has collected to be sent together; None while it does not collect."""

    parts: list[_Part] | None = None


_sending = _Sending()


class Column(NamedTuple):
    """A column and its type in PostgreSQL: ``uuid``, ``text``, ``bigint``, ``timestamptz``, ….

    The value of a ``jsonb`` column is a ``RawJson``, or JSON of this project's own making.
    Where a column ``keeps``, updating it with null leaves what is there.
    """

    name: str
    type: str
    keeps: bool = False


def insert_rows(
    table: str, columns: Sequence[Column], rows: Sequence[Row], *, on_conflict: str = ""
) -> None:
    """Insert ``rows``; ``on_conflict`` is what follows those words, for rows that are there."""
    _run(_insert(table, tuple(columns), on_conflict), columns, rows)


def insert_objects(objects: Sequence[Model]) -> None:
    """Insert new instances of one model whose key is not the database's to give.

    It does what ``bulk_create`` does, in a third of the time.
    """
    if not objects:
        return
    model = type(objects[0])
    fields = model._meta.concrete_fields
    columns = _columns(model)
    rows = [[field.pre_save(item, add=True) for field in fields] for item in objects]
    for index, column in enumerate(columns):
        if column.type == "jsonb":
            for row in rows:
                row[index] = None if row[index] is None else _checked(row[index])
    insert_rows(model._meta.db_table, columns, rows)


def update_rows(
    table: str, columns: Sequence[Column], rows: Sequence[Row], *, guard: str = ""
) -> None:
    """Set the columns of existing rows; the first column is ``id`` and says which row.

    ``guard`` is a condition on the row; where it does not hold, the row stays as it is.
    """
    condition = f" AND {guard}" if guard else ""
    if _is_postgresql():
        arrays = ", ".join(f"%s::{column.type}[]" for column in columns)
        fields = ", ".join(column.name for column in columns)
        assignments = ", ".join(_assignment(c, f"new.{c.name}", table) for c in columns[1:])
        sql = (
            f"UPDATE {table} SET {assignments} FROM unnest({arrays}) AS new({fields}) "
            f"WHERE {table}.id = new.id{condition}"
        )
    else:
        places = enumerate(columns[1:], 2)
        assignments = ", ".join(_assignment(c, f"?{place}", table) for place, c in places)
        sql = f"UPDATE {table} SET {assignments} WHERE id = ?1{condition}"
    _run(sql, columns, rows)


def write(sql: str, *parameters: Any) -> None:
    """Run a statement that changes rows and returns none, with places as in ``select``."""
    if _is_postgresql():
        _send(sql, _bound(parameters))
    else:
        select(sql, *parameters)


@contextmanager
def together() -> Iterator[None]:
    """Send the writes of this block as one statement, whose parts touch no row twice.

    On PostgreSQL that costs one way there and back, and what is too large for one statement costs
    more; on SQLite there is no way to go.
    """
    if not _is_postgresql():
        yield
        return
    _sending.parts = []
    try:
        yield
        _send_parts()
    finally:
        _sending.parts = None


def select(sql: str, *parameters: Any) -> Rows:
    """Run a query with ``%s`` places and return its rows.

    A UUID or a moment may be given as it is, and a list of ids for ``= ANY(%s)``. On SQLite
    identifiers and moments come back as text: ``as_uuid`` and ``as_moment`` read both.
    """
    with _driver() as raw:
        if _is_postgresql():
            with psycopg.Cursor(raw) as cursor:
                return cursor.execute(sql, _bound(parameters), prepare=True).fetchall()
        cursor = raw.execute(_in_sqlite(sql), [sqlite_parameter(value) for value in parameters])
        rows: Rows = cursor.fetchall()
        return rows


def select_each(queries: Sequence[Query]) -> list[Rows]:
    """Run queries one after the other, none of which needs another's rows; return those of each.

    On PostgreSQL that costs one way there and back, with the beginning of the transaction.
    """
    if not _is_postgresql():
        return [select(sql, *parameters) for sql, parameters in queries]
    with _driver() as raw:
        with raw.pipeline():
            cursors = [
                psycopg.Cursor(raw).execute(sql, _bound(parameters), prepare=True)
                for sql, parameters in queries
            ]
        return [cursor.fetchall() for cursor in cursors]


def select_objects(model: type[Model], condition: str, *parameters: Any, extra: str = "") -> Rows:
    """Return (instance, value of ``extra``) of the rows of ``model`` that meet ``condition``.

    ``condition`` is what follows FROM and the table's name, ``extra`` an expression whose places
    come first. It does what the ORM does, in a quarter of the time.
    """
    return read_objects(model, select(query_objects(model, condition, extra=extra), *parameters))


def query_objects(model: type[Model], condition: str, *, extra: str = "") -> str:
    """Return the SQL of ``select_objects``; ``read_objects`` reads the rows."""
    fields = model._meta.concrete_fields
    columns = ", ".join(f'{model._meta.db_table}."{field.column}"' for field in fields)
    return f"SELECT {columns}, {extra or 'NULL'} FROM {model._meta.db_table} {condition}"


def read_objects(model: type[Model], rows: Rows) -> Rows:
    """Return the rows of ``query_objects`` as ``select_objects`` does."""
    fields = model._meta.concrete_fields
    names = [str(field.attname) for field in fields]
    readers = [_READERS.get(_storage(field)) for field in fields]
    found = []
    for row in rows:
        values = [
            read(value) if read and value is not None else value
            for read, value in zip(readers, row[:-1], strict=True)
        ]
        found.append((model.from_db(connection.alias, names, values), row[-1]))
    return found


def now_sql() -> str:
    """Return the expression for the database's time: NULL on SQLite, which has the process's."""
    return "clock_timestamp()" if _is_postgresql() else "NULL"


def as_uuid(value: Any) -> UUID:
    """Read an identifier that ``select`` returned."""
    return value if isinstance(value, UUID) else UUID(hex=value)


def as_moment(value: Any) -> datetime | None:
    """Read a moment that ``select`` returned."""
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    # SQLite keeps UTC without saying so, and its driver reads the columns of a table itself.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def settle_in() -> None:
    """Make this connection one that lives long and runs the same few statements for ever.

    PostgreSQL keeps their plans, and always goes by the index: plans that were made while the
    tables were nearly empty would read them from end to end until somebody analyses them.
    """
    if not _is_postgresql():
        connection.ensure_connection()
        return
    with _driver() as raw, psycopg.Cursor(raw) as cursor:
        for name in ("jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
            cursor.execute(f"SET {name} = off")
        # A process that is stopped inside a transaction would hold its locks against those
        # who want to take over from it.
        longest = int(settings.MGX_LEASE_SECONDS * 1000)
        cursor.execute(f"SET idle_in_transaction_session_timeout = {longest}")


def append_numbered(
    table: str, columns: Sequence[Column], rows: Sequence[Row], workspace_id: UUID
) -> None:
    """Insert rows of one workspace, numbered in the column ``seq`` after those before them.

    The counter is that of ``EventStream``; its row stays locked to the end of the transaction.
    Listeners of events are told once that has committed.
    """
    if not _is_postgresql():
        [(last,)] = select(
            "UPDATE workflows_eventstream SET last_seq = last_seq + %s WHERE workspace_id = %s"
            " RETURNING last_seq",
            len(rows), workspace_id,
        )  # fmt: skip
        first = last - len(rows) + 1
        numbered = [(number, *row) for number, row in enumerate(rows, first)]
        insert_rows(table, [Column("seq", "bigint"), *columns], numbered)
        return
    names = ", ".join(f'"{column.name}"' for column in columns)
    values = ", ".join(f'rows."{column.name}"' for column in columns)
    arrays = ", ".join(f"%s::{column.type}[]" for column in columns)
    with _collected():
        counter = _send(
            "UPDATE workflows_eventstream SET last_seq = last_seq + %s WHERE workspace_id = %s"
            f" RETURNING last_seq - %s AS before, pg_notify('{EVENTS_CHANNEL}', '')",
            [len(rows), workspace_id, len(rows)],
        )
        _send(
            f"INSERT INTO {table} (seq, {names})"
            f" SELECT {counter}.before + rows.ordinality, {values}"
            f" FROM {counter}, unnest({arrays}) WITH ORDINALITY AS rows({names}, ordinality)",
            _arrays(columns, rows),
        )


def wake_engine() -> None:
    """Tell the drivers to look for work, once this transaction has committed.

    On SQLite they notice the commit itself.
    """
    if _is_postgresql():
        _send(f"SELECT pg_notify('{ENGINE_CHANNEL}', '')", [], is_query=True)


def _assignment(column: Column, new: str, table: str) -> str:
    value = f"coalesce({new}, {table}.{column.name})" if column.keeps else new
    return f"{column.name} = {value}"


@cache
def _in_sqlite(sql: str) -> str:
    """Return a query as SQLite takes it. It has one writer, so there are no rows to lock."""
    for clause in (" FOR UPDATE SKIP LOCKED", " FOR UPDATE", " FOR NO KEY UPDATE", " FOR SHARE"):
        sql = sql.replace(clause, "")
    return sql.replace("= ANY(%s)", "IN (SELECT value FROM json_each(%s))").replace("%s", "?")


@cache
def _insert(table: str, columns: tuple[Column, ...], on_conflict: str) -> str:
    names = ", ".join(f'"{column.name}"' for column in columns)
    conflict = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    if _is_postgresql():
        arrays = ", ".join(f"%s::{column.type}[]" for column in columns)
        return f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}){conflict}"
    places = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({places}){conflict}"


def _run(sql: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Run a statement whose parameters are the columns of ``rows``."""
    if not rows:
        return
    if _is_postgresql():
        first, *others = _in_portions(columns, rows)
        _send(sql, _arrays(columns, first))
        for portion in others:
            _send_parts()
            _send(sql, _arrays(columns, portion))
        return
    by_column = zip(columns, zip(*rows, strict=True), strict=True)
    converted = [sqlite_column(values, column.type) for column, values in by_column]
    with _driver() as raw:
        raw.executemany(sql, zip(*converted, strict=True))


def _in_portions(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Yield rows, as many together as one statement may carry."""
    places = [index for index, column in enumerate(columns) if column.type == "jsonb"]
    texts = (text for index in places for row in rows if isinstance(text := row[index], RawJson))
    if sum(map(len, texts)) <= _LARGEST:
        yield rows
        return
    begin = size = 0
    for number, row in enumerate(rows):
        length = sum(len(row[index]) for index in places if isinstance(row[index], RawJson))
        if size + length > _LARGEST and number > begin:
            yield rows[begin:number]
            begin, size = number, 0
        size += length
    yield rows[begin:]


def _arrays(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    by_column = zip(columns, zip(*rows, strict=True), strict=True)
    return [array(values, column.type) for column, values in by_column]


def _send(sql: str, parameters: Sequence[Any], *, is_query: bool = False) -> str:
    """Run a statement on PostgreSQL, or let it wait for the others; return its name for them."""
    parts = _sending.parts
    if parts is None:
        _execute(sql, parameters)
        return ""
    part = _Part(f"part{len(parts)}", sql, parameters, is_query)
    parts.append(part)
    return part.name


def _send_parts() -> None:
    """Send what has been collected until now as one statement."""
    if not (parts := _sending.parts):
        return
    _sending.parts = []
    *others, last = sorted(parts, key=lambda part: part.is_query)
    head = ", ".join(f"{part.name} AS ({part.sql})" for part in others)
    _execute(
        f"WITH {head} {last.sql}" if others else last.sql,
        [parameter for part in (*others, last) for parameter in part.parameters],
    )


@contextmanager
def _collected() -> Iterator[None]:
    """Send what this block sends together, or with what is being collected already."""
    if _sending.parts is not None:
        yield
        return
    with together():
        yield


def _execute(sql: str, parameters: Sequence[Any]) -> None:
    # It binds on the server, where the statement is planned once.
    with _driver() as raw, psycopg.Cursor(raw) as cursor:
        cursor.execute(sql, parameters, prepare=True)


def _bound(parameters: Sequence[Any]) -> list[Any]:
    return [array_of(value) if isinstance(value, list) else value for value in parameters]


@contextmanager
def _driver() -> Iterator[Any]:
    """Open the connection and yield its driver's own; what that raises comes out as Django's."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        yield connection.connection


@cache
def _columns(model: type[Model]) -> tuple[Column, ...]:
    fields = model._meta.concrete_fields
    return tuple(Column(str(field.column), _TYPES[_storage(field)]) for field in fields)


def _storage(field: Any) -> str:
    """Return the kind of field that a column is stored as: a foreign key's is that of its key."""
    kind: str = (field.target_field if field.is_relation else field).get_internal_type()
    return kind


def _checked(value: Any) -> RawJson:
    return RawJson(dumps_canonical(value))


def _read_json(value: Any) -> Any:
    return json.loads(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "BooleanField": bool,
    "DateTimeField": as_moment,
    "JSONField": _read_json,
    "UUIDField": as_uuid,
}
_TYPES = {
    "AutoField": "bigint",
    "BigAutoField": "bigint",
    "BigIntegerField": "bigint",
    "BooleanField": "boolean",
    "CharField": "text",
    "DateTimeField": "timestamptz",
    "FloatField": "double precision",
    "JSONField": "jsonb",
    "PositiveIntegerField": "bigint",
    "PositiveSmallIntegerField": "bigint",
    "TextField": "text",
    "UUIDField": "uuid",
}


@cache
def _is_postgresql() -> bool:
    return bool(connection.vendor == "postgresql")
