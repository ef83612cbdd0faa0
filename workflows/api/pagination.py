"""Pages that hold still: a cursor names the last row seen, so that new rows shift nothing."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from workflows.clock import in_utc
from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError, Problem
from workflows.errors import InvalidInput

LIMIT = 50
MAX_LIMIT = 200


#: How the schema tells of the parameters that every page takes.
PAGE = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT},
        description="Rows of one page",
    ),
    OpenApiParameter(
        "cursor", str, description="Where the page begins: follow `next` and `previous`"
    ),
]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The row at the edge of a page: its value in the ordering, and its key for equal values."""

    ordering: str
    value: Any
    key: Any
    is_backwards: bool = False

    def encode(self) -> str:
        """Return the cursor as it stands in an address."""
        text = json.dumps([self.ordering, self.value, self.key, self.is_backwards], default=str)
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Read a cursor.

        Raises:
            InvalidInput: no page ever ended with this one.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            ordering, value, key, is_backwards = loads_strict(raw)
        except (CanonicalError, ValueError, TypeError, binascii.Error):
            raise bad_cursor() from None
        if (
            not isinstance(ordering, str)
            or not isinstance(value, str | int)
            or not isinstance(key, str | int)
            or not isinstance(is_backwards, bool)
        ):
            raise bad_cursor()
        return cls(ordering, value, key, is_backwards)


def bad_cursor() -> InvalidInput:
    """Return the refusal of a cursor that no page ended with."""
    return _invalid("cursor", "This cursor is not from here")


def read_limit(request: Request) -> int:
    """Return the size of page that a request asks for.

    Raises:
        InvalidInput: it is not 1 to 200.
    """
    text = request.query_params.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAX_LIMIT):
        raise _invalid("limit", f"A number from 1 to {MAX_LIMIT}")
    return int(text)


def _invalid(parameter: str, message: str) -> InvalidInput:
    problem = Problem("", "invalid", message, f"/{parameter}")
    return InvalidInput(f"{parameter}: {message}.", [problem], code=f"invalid_{parameter}")


class CursorPagination(BasePagination):
    """``limit``, ``cursor`` and ``ordering``; answers with ``next``, ``previous``, ``results``.

    A view's ``orderings`` maps what a client may ask for to columns that are never null; the
    first is the default, descending if it begins with ``-``.
    """

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self._request = request
        limit = read_limit(request)
        orderings: Mapping[str, str] = view.orderings
        self._ordering = request.query_params.get("ordering") or next(iter(orderings))
        name = self._ordering.lstrip("-")
        columns = {key.lstrip("-"): column for key, column in orderings.items()}
        if name not in columns or self._ordering not in (name, f"-{name}"):
            raise _invalid("ordering", f"One of {', '.join(columns)}, or with - before it")
        self._column = columns[name]
        cursor = self._cursor()
        is_backwards = cursor is not None and cursor.is_backwards
        if cursor is not None:
            queryset = queryset.filter(self._beyond(queryset, cursor))
        # Backwards is the same question in the other direction; its rows are turned round.
        sign = "-" if self._ordering.startswith("-") != is_backwards else ""
        rows = list(queryset.order_by(f"{sign}{self._column}", f"{sign}pk")[: limit + 1])
        has_more = len(rows) > limit
        rows = rows[:limit]
        if is_backwards:
            rows.reverse()
        self._has_next = has_more if not is_backwards else True
        self._has_previous = has_more if is_backwards else cursor is not None
        self._rows = rows
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({**self._links(), "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        names = [name.lstrip("-") for name in view.orderings]
        default = next(iter(view.orderings))
        choices = [*names, *(f"-{name}" for name in names)]
        ordering = OpenApiParameter(
            "ordering", str, enum=choices, description=f"By default {default}"
        )
        return [_as_parameter(parameter) for parameter in (*PAGE, ordering)]

    def _cursor(self) -> Cursor | None:
        text = self._request.query_params.get("cursor")
        if not text:
            return None
        cursor = Cursor.decode(text)
        if cursor.ordering != self._ordering:
            raise bad_cursor()
        return cursor

    def _beyond(self, queryset: QuerySet[Any], cursor: Cursor) -> Q:
        sign = "lt" if self._ordering.startswith("-") != cursor.is_backwards else "gt"
        try:
            key = queryset.model._meta.pk.to_python(cursor.key)
            value = _field(queryset, self._column).to_python(cursor.value)
            if isinstance(value, datetime):
                value = in_utc(value)
        except (ValidationError, ValueError, TypeError, OverflowError):
            raise bad_cursor() from None
        if value is None or key is None:
            raise bad_cursor()
        return Q(**{f"{self._column}__{sign}": value}) | Q(
            **{self._column: value, f"pk__{sign}": key}
        )

    def _links(self) -> dict[str, str | None]:
        rows: Sequence[Any] = self._rows
        return {
            "next": self._link(rows[-1], is_backwards=False) if self._has_next and rows else None,
            "previous": (
                self._link(rows[0], is_backwards=True) if self._has_previous and rows else None
            ),
        }

    def _link(self, row: Any, *, is_backwards: bool) -> str:
        value = getattr(row, self._column)
        text = value.isoformat() if hasattr(value, "isoformat") else value
        cursor = Cursor(self._ordering, text, str(row.pk), is_backwards)
        address = self._request.build_absolute_uri()
        return str(replace_query_param(address, "cursor", cursor.encode()))


def _as_parameter(parameter: OpenApiParameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if isinstance(parameter.type, dict):
        schema = dict(parameter.type)
    if parameter.enum:
        schema["enum"] = list(parameter.enum)
    return {
        "name": parameter.name,
        "in": "query",
        "schema": schema,
        "description": parameter.description,
    }


def _field(queryset: QuerySet[Any], column: str) -> Any:
    annotation = queryset.query.annotations.get(column)
    return annotation.output_field if annotation else queryset.model._meta.get_field(column)
