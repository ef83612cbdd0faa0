"""How values are handed to each database by ``workflows/bulk.py``, which writes many at a time.

PostgreSQL gets a column as one array in its text form. psycopg could make it from a list, but in
Python, element by element: that was half of all the time the engine spent. The same few
identifiers, moments and words stand in most rows of a batch, so each is converted once.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

Convert = Callable[[Any], Any]


class RawJson(str):
    """JSON that is text already, checked by ``workflows/core/canonical.py``."""

    __slots__ = ()


def array(values: Iterable[Any], kind: str) -> str:
    """Return the values of a column of type ``kind`` as PostgreSQL reads an array (8.15.6)."""
    if kind == "jsonb":
        values = [None if value is None else _json(value) for value in values]
    return "{" + ",".join(_converted(values, _IN_ARRAY[kind], "NULL")) + "}"


def array_of(values: Sequence[Any]) -> str:
    """Return identifiers, of either kind, or words as PostgreSQL reads an array."""
    first = values[0] if values else ""
    kinds = {UUID: "uuid", int: "bigint"}
    return array(values, kinds.get(type(first), "text"))


def sqlite_column(values: Iterable[Any], kind: str) -> Sequence[Any]:
    """Return the values of a column of type ``kind`` as Django keeps them in SQLite."""
    if kind == "jsonb":
        return [None if value is None else _json(value) for value in values]
    convert = _IN_SQLITE.get(kind)
    return _converted(values, convert, None) if convert else list(values)


def sqlite_parameter(value: Any) -> Any:
    """Return one parameter of a query; a list becomes JSON for ``json_each``."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return _sqlite_moment(value)
    if isinstance(value, list):
        return json.dumps([item.hex if isinstance(item, UUID) else item for item in value])
    return value


def _converted(values: Iterable[Any], convert: Convert, null: Any) -> list[Any]:
    known: dict[Any, Any] = {None: null}
    converted = []
    for value in values:
        if value not in known:
            known[value] = convert(value)
        converted.append(known[value])
    return converted


def _json(value: Any) -> str:
    return value if isinstance(value, RawJson) else _ENCODER.encode(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hex(value: UUID) -> str:
    return value.hex


def _sqlite_moment(value: datetime) -> str:
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


_IN_ARRAY: Mapping[str, Convert] = {
    "bigint": str,
    "boolean": str,
    "date": lambda value: value.isoformat(),
    "double precision": repr,
    "jsonb": _quoted,
    "text": _quoted,
    "timestamptz": lambda value: f'"{value.isoformat()}"',
    "uuid": _hex,
}
_IN_SQLITE: Mapping[str, Convert] = {
    "date": lambda value: value.isoformat(),
    "timestamptz": _sqlite_moment,
    "uuid": _hex,
}
