"""The form that decides a request: the outcome, the words, and the fields of its own schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from approvals.forms import FormField, fields_of
from approvals.models import WorkflowStepApproval
from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError, Problem

#: Before a field's name in the posted form, so that none can be mistaken for another one.
PREFIX: Final = "field-"

_EXPECTED: Final = {
    "integer": "Enter a whole number.",
    "number": "Enter a number.",
    "boolean": "Choose yes or no.",
    "choice": "Choose one of these.",
    "json": 'Enter JSON, such as {"region": "eu"} or ["a", "b"].',
}
_NUMBERS: Final[dict[str, type | tuple[type, ...]]] = {"integer": int, "number": (int, float)}


@dataclass(slots=True)
class DecisionForm:
    """The decision as it stands in the form.

    Attributes:
        errors: what is wrong, by field; the empty name is for the form as a whole.
        posted: the fields as they were posted; None where nothing was.
        kept: what was written beside the decision and refused, by field.
    """

    outcome: str
    feedback: str
    errors: dict[str, str] = field(default_factory=dict)
    posted: Mapping[str, str] | None = None
    kept: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownField:
    """One field of the schema, with what stands in it.

    Attributes:
        number: its place in the schema, from 1.
        text: what stands in it: what was posted, or what it holds at first.
        choices: the values of a choice as they are posted, with the words for each.
    """

    number: int
    about: FormField
    text: str
    choices: tuple[tuple[str, str], ...]
    error: str

    @property
    def key(self) -> str:
        """Its name in the posted form."""
        return PREFIX + self.about.name

    @property
    def id(self) -> str:
        """Its name in the page. A name in a schema may hold anything, which an id may not."""
        return f"{PREFIX}{self.number}"

    @property
    def initial(self) -> str:
        """What it holds at first, as it is posted."""
        return _text(self.about, self.about.value)

    @property
    def proposed(self) -> str:
        """What the agent proposed, as words; empty where the field edits nothing."""
        return _word(self.about.value) if self.about.edits else ""

    @property
    def is_edited(self) -> bool:
        return bool(self.about.edits) and self.text != self.initial

    @property
    def bounds(self) -> str:
        """What a value may be, in words: `From 1 to 50.`"""
        schema = self.about.schema
        least, most = schema.get("minimum"), schema.get("maximum")
        if least is not None and most is not None:
            return f"From {least} to {most}."
        if least is not None:
            return f"At least {least}."
        if most is not None:
            return f"At most {most}."
        longest = schema.get("maxLength")
        return f"At most {longest} characters." if longest is not None else ""


class ResponseForm:
    """The fields of a request's schema, filled in.

    Attributes:
        fields: all of them, in the order of the schema.
    """

    def __init__(self, approval: WorkflowStepApproval, form: DecisionForm) -> None:
        schema = approval.approval_metadata.get("form_schema")
        found = fields_of(schema, approval.approval_data) if schema else []
        self.fields = [_shown(number, each, form) for number, each in enumerate(found, 1)]

    @property
    def answers(self) -> list[ShownField]:
        """The fields that ask something, those that must be filled in first.

        Their order says nothing else: what is stored is sorted by key.
        """
        asked = [each for each in self.fields if not each.about.edits]
        return sorted(asked, key=lambda each: not each.about.is_required)

    @property
    def edits(self) -> list[ShownField]:
        """The fields that change the content."""
        return [each for each in self.fields if each.about.edits]

    @property
    def edited(self) -> int:
        """How many places are not as the agent left them."""
        return sum(each.is_edited for each in self.edits)

    @property
    def has_edit_errors(self) -> bool:
        return any(each.error for each in self.edits)

    def read(self) -> tuple[dict[str, Any] | None, dict[str, str]]:
        """Return the answer, None without a schema, and what cannot be read, by field.

        A field that is left empty says nothing, unless that empties a text that was there.
        """
        values: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for each in self.fields:
            try:
                if each.text.strip() or (each.about.kind in ("text", "lines") and each.initial):
                    values[each.about.name] = _read(each)
            except (ValueError, CanonicalError):
                errors[each.key] = _EXPECTED[each.about.kind]
        return (values if self.fields else None), errors


def read_form(asked: Mapping[str, str]) -> DecisionForm:
    """The form as it was posted, or as a link chose it (`?choice=`)."""
    outcome = asked.get("outcome") or asked.get("choice") or ""
    known = ("approved", "request_changes", "rejected")
    is_posted = "digest" in asked
    return DecisionForm(
        outcome if outcome in known else "",
        asked.get("feedback", ""),
        posted={key: text for key, text in asked.items() if key.startswith(PREFIX)}
        if is_posted
        else None,
    )


def field_errors(problems: Iterable[Problem]) -> dict[str, str]:
    """Return what is wrong with the fields of a response, by their names in the form."""
    found: dict[str, str] = {}
    for problem in problems:
        start, _, rest = problem.path.lstrip("/").partition("/")
        if start == "response_data" and rest:
            name = rest.partition("/")[0].replace("~1", "/").replace("~0", "~")
            found.setdefault(PREFIX + name, problem.message)
    return found


def _shown(number: int, about: FormField, form: DecisionForm) -> ShownField:
    key = PREFIX + about.name
    text = _text(about, about.value)
    if form.posted is not None:
        text = form.posted.get(key, "").replace("\r\n", "\n")
    choices = tuple((_dump(value), _word(value)) for value in about.choices)
    return ShownField(number, about, text, choices, form.errors.get(key, ""))


def _text(about: FormField, value: Any) -> str:
    """A value as it is posted: texts as they are, everything else as JSON."""
    if value is None:
        return ""
    if about.kind in ("text", "lines", "date") and isinstance(value, str):
        return value
    return _dump(value) if about.kind != "json" else json.dumps(value, ensure_ascii=False, indent=2)


def _word(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else _dump(value)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _read(shown: ShownField) -> Any:
    kind = shown.about.kind
    if kind in ("text", "lines", "date"):
        return shown.text
    value = loads_strict(shown.text.strip())
    is_mistaken = isinstance(value, bool) != (kind == "boolean") and kind not in ("choice", "json")
    if is_mistaken or not isinstance(value, _NUMBERS.get(kind, object)):
        raise ValueError(kind)
    if kind == "choice" and shown.text.strip() not in dict(shown.choices):
        raise ValueError(kind)
    return value
