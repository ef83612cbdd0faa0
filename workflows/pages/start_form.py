"""The form that starts a run: a field for each variable of the published version."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError, Problem, json_pointer

#: Before a variable's name in the posted form, so that none can be mistaken for another field.
PREFIX: Final = "var-"

_EXPECTED: Final = {
    "int": "Enter a whole number.",
    "float": "Enter a number.",
    "bool": "Choose yes or no.",
    "json": 'Enter JSON, such as {"region": "eu"} or ["a", "b"].',
}
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "json": object,
}


@dataclass(slots=True)
class Field:
    """One variable as a form field.

    Attributes:
        text: what stands in it: the default, or what was posted.
        error: what is wrong with it, in words.
    """

    name: str
    data_type: str
    is_required: bool
    description: str
    text: str
    error: str = ""

    @property
    def key(self) -> str:
        """The field's name in the posted form."""
        return PREFIX + self.name

    @property
    def label(self) -> str:
        """The variable's name as words."""
        return self.name.replace("_", " ").capitalize()


class StartForm:
    """The variables of a definition, as they stand in the form."""

    def __init__(
        self, variables: Iterable[Mapping[str, Any]], posted: Mapping[str, str] | None = None
    ) -> None:
        self.fields = [_field(variable, posted) for variable in variables]
        self.error = ""

    @property
    def is_valid(self) -> bool:
        """Whether nothing was marked as wrong."""
        return not self.error and not any(field.error for field in self.fields)

    def read(self) -> dict[str, Any]:
        """The values for a run. Empty fields have none; what cannot be read is marked."""
        values = {}
        for field in self.fields:
            if not field.text.strip():
                field.error = "This is required." if field.is_required else ""
                continue
            try:
                values[field.name] = _read(field)
            except (ValueError, CanonicalError):
                field.error = _EXPECTED[field.data_type]
        return values

    def mark(self, message: str, problems: Iterable[Problem] = ()) -> None:
        """Write what a service refused beside the fields that it is about, or above them all."""
        pointers = {json_pointer(["input_variables", f.name]): f for f in self.fields}
        self.error = message
        for problem in problems:
            for pointer, field in pointers.items():
                if f"{problem.path}/".startswith(f"{pointer}/"):
                    field.error = problem.message


def _field(variable: Mapping[str, Any], posted: Mapping[str, str] | None) -> Field:
    name, data_type = variable["name"], variable.get("data_type") or "string"
    default = _text(variable.get("default_value"), data_type)
    return Field(
        name=name,
        data_type=data_type,
        is_required=bool(variable.get("is_required")),
        description=variable.get("description") or "",
        text=default if posted is None else posted.get(PREFIX + name, ""),
    )


def _text(value: Any, data_type: str) -> str:
    if value is None:
        return ""
    return value if data_type == "string" else json.dumps(value, ensure_ascii=False)


def _read(field: Field) -> Any:
    """Read a field as strictly as the API reads a body: `1_000` and `１` are no numbers."""
    if field.data_type == "string":
        return field.text.replace("\r\n", "\n")
    value = loads_strict(field.text.strip())
    is_mistaken = isinstance(value, bool) and field.data_type in ("int", "float")
    if is_mistaken or not isinstance(value, _TYPES[field.data_type]):
        raise ValueError(field.data_type)
    return value
