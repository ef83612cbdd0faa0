"""The form of a request: its JSON Schema, what people fill in, and what that edits.

A property with ``x-edits``, a JSON Pointer, writes its value to that place of the payload.
Patterns are matched in linear time; a schema that needs more is refused when it is saved.
"""

from dataclasses import dataclass
from typing import Any

from workflows.core.errors import Problem

EDITS = "x-edits"


@dataclass(frozen=True, slots=True)
class FormField:
    """One field as a page shows it.

    Attributes:
        kind: ``text``, ``lines`` (of text), ``number``, ``integer``, ``boolean``, ``choice``,
            ``date``, or ``json`` for what has no field of its own.
        value: what it holds at first: the place of the payload that it edits, or the default.
        choices: the values of a ``choice``, as JSON has them.
        edits: the JSON Pointer of what it edits, or "".
        schema: its part of the schema, for bounds and patterns.
    """

    name: str
    label: str
    kind: str
    help: str
    is_required: bool
    value: Any
    choices: tuple[Any, ...]
    edits: str
    schema: dict[str, Any]


def check_schema(schema: object) -> list[Problem]:
    """Return everything that keeps ``schema`` from being a form; paths begin at the schema."""
    raise NotImplementedError


def check_response(schema: dict[str, Any], data: object) -> list[Problem]:
    """Return what is wrong with an answer; paths begin at ``data``."""
    raise NotImplementedError


def edit_payload(schema: dict[str, Any], payload: Any, data: object) -> Any:
    """Return the payload with what a valid answer edits; ``payload`` itself stays as it is."""
    raise NotImplementedError


def fields_of(schema: dict[str, Any], payload: Any) -> list[FormField]:
    """Return the fields in the order of the schema."""
    raise NotImplementedError
