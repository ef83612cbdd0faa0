"""The form of a request: its JSON Schema, what people fill in, and what that edits.

A property with ``x-edits``, a JSON Pointer, writes its value to that place of the payload.
Patterns are matched in linear time; a schema that needs more is refused when it is saved.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError, json_pointer
from workflows.errors import InvalidInput

EDITS: Final = "x-edits"
#: How many schemas may stand in one another, each reference counted as what it stands for: so
#: many are asked of every answer.
MOST_PARTS: Final = 2_000
_MOST_PROBLEMS: Final = 50
_LONG_TEXT: Final = 200
#: An engine that takes linear time whatever the pattern; it has no look-around.
_PATTERNS: Final = jsonschema_rs.RegexOptions()

_KINDS: Final = {"string": "text", "number": "number", "integer": "integer", "boolean": "boolean"}
_MANY: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MESSAGES: Final = {
    "minLength": "Write at least {limit} characters.",
    "maxLength": "Write at most {limit} characters.",
    "minimum": "This must be at least {limit}.",
    "maximum": "This must be at most {limit}.",
    "exclusiveMinimum": "This must be more than {limit}.",
    "exclusiveMaximum": "This must be less than {limit}.",
    "minItems": "At least {limit} are needed.",
    "maxItems": "At most {limit} are possible.",
    "multipleOf": "This must be a multiple of {multiple_of}.",
    "format": "This is no valid {format}.",
    "pattern": "This must match {pattern}.",
}


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
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return [_problem("invalid_schema", "A form is a schema of type object.", "")]
    try:
        dumps_canonical(schema)
    except UnstorableError as error:
        return [_problem(error.reason, error.message, error.path or "")]
    problems = [*_size_problems(schema), *_edit_problems(schema)]
    if problems:
        return problems
    try:
        _validator(schema)
    except jsonschema_rs.ValidationError as error:
        path = json_pointer(error.instance_path)
        return [_problem("invalid_schema", f"No JSON Schema: {_first_line(error)}", path)]
    except ValueError as error:
        return [_problem("invalid_schema", f"No JSON Schema: {error}", "")]
    return []


def check_response(schema: dict[str, Any], data: object) -> list[Problem]:
    """Return what is wrong with an answer; paths begin at ``data``."""
    problems: list[Problem] = []
    for error in _validator(schema).iter_errors(data):
        problems += _problems_of(error)
        if len(problems) >= _MOST_PROBLEMS:
            break
    return problems


def edit_payload(schema: dict[str, Any], payload: Any, data: object) -> Any:
    """Return the payload with what a valid answer edits; ``payload`` itself stays as it is.

    Raises InvalidInput where there is no such place to be edited.
    """
    edits = _edits(schema)
    given = data if isinstance(data, Mapping) else {}
    edited = copy.deepcopy(payload) if edits.keys() & given.keys() else payload
    problems = []
    for name, pointer in edits.items():
        if name in given and not _put(edited, pointer, given[name]):
            message = f"There is nothing at {pointer} that could be edited."
            problems.append(_problem("unknown_place", message, json_pointer([name])))
    if problems:
        raise InvalidInput(problems[0].message, problems)
    return edited


def fields_of(schema: dict[str, Any], payload: Any) -> list[FormField]:
    """Return the fields in the order of the schema."""
    required = schema.get("required", ())
    return [
        _field(name, _resolved(part, schema), payload, is_required=name in required)
        for name, part in schema.get("properties", {}).items()
    ]


def _field(name: str, part: dict[str, Any], payload: Any, *, is_required: bool) -> FormField:
    pointer = part.get(EDITS, "")
    value = _get(payload, pointer) if pointer else part.get("default")
    choices = _choices(part)
    return FormField(
        name=name,
        label=part.get("title") or name.replace("_", " ").capitalize(),
        kind="choice" if choices else _kind(part, value),
        help=part.get("description", ""),
        is_required=is_required,
        value=value,
        choices=choices,
        edits=pointer,
        schema=part,
    )


def _choices(part: dict[str, Any]) -> tuple[Any, ...]:
    if "enum" in part:
        return tuple(part["enum"])
    constants = part.get("oneOf") or [part]
    return tuple(each["const"] for each in constants if "const" in each)


def _kind(part: dict[str, Any], value: Any) -> str:
    types = part.get("type", "")
    if isinstance(types, list):
        types = next((each for each in types if each != "null"), "")
    kind = _KINDS.get(types, "json")
    if kind != "text":
        return kind
    if part.get("format") == "date":
        return "date"
    is_long = part.get("maxLength", 0) > _LONG_TEXT or part.get("format") == "multi-line"
    return "lines" if is_long or (isinstance(value, str) and "\n" in value) else "text"


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema, pattern_options=_PATTERNS, offline=True, validate_formats=True
    )


def _problems_of(error: jsonschema_rs.ValidationError) -> Iterator[Problem]:
    facts = error.kind.as_dict()
    kind = error.kind.name
    place = list(error.instance_path)
    if kind == "required":
        pointer = json_pointer([*place, facts["property"]])
        yield _problem("required", "This is required.", pointer)
    elif kind == "additionalProperties":
        for name in facts["unexpected"]:
            pointer = json_pointer([*place, name])
            yield _problem("unknown_field", "The form has no such field.", pointer)
    else:
        yield _problem("invalid_response", _message(kind, facts, error), json_pointer(place))


def _message(kind: str, facts: dict[str, Any], error: jsonschema_rs.ValidationError) -> str:
    if kind == "type":
        return f"This must be of type {' or '.join(sorted(facts['types']))}."
    if kind == "enum":
        return f"Choose one of {', '.join(map(str, facts['options']))}."[:_LONG_TEXT]
    if message := _MESSAGES.get(kind):
        return message.format(**facts)
    return f"This is not as the form wants it: {error.message}"[:_LONG_TEXT]


def _size_problems(schema: dict[str, Any]) -> list[Problem]:
    """Return why a schema is too large once its references are followed, or leads in a circle."""
    budget = MOST_PARTS
    pending: list[tuple[tuple[str | int, ...], Any, frozenset[str]]] = [((), schema, frozenset())]
    while pending:
        place, part, followed = pending.pop()
        if not isinstance(part, dict):
            continue
        budget -= 1
        if budget < 0:
            message = f"A form may consist of {MOST_PARTS} parts, its references followed."
            return [_problem("too_large", message, "")]
        if any(key in part for key in ("$dynamicRef", "$recursiveRef")):
            message = "A form refers to its own parts by $ref only."
            return [_problem("invalid_schema", message, json_pointer(place))]
        if "$ref" in part:
            reference = part["$ref"]
            target = _target(reference, schema)
            if target is None or reference in followed:
                message = f"{reference} names no part of this schema, or one that it stands in."
                return [_problem("invalid_schema", message, json_pointer([*place, "$ref"]))]
            pending.append((place, target, followed | {reference}))
        pending += [((*place, *more), child, followed) for more, child in _children(part)]
    return []


def _children(part: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the schemas that stand in a schema, but for those that are only there by name."""
    for key, value in part.items():
        if key in _MANY and isinstance(value, dict):
            if key not in ("$defs", "definitions"):
                yield from (((key, name), child) for name, child in value.items())
        elif key in _LISTS and isinstance(value, list):
            yield from (((key, index), child) for index, child in enumerate(value))
        elif isinstance(value, dict) and key not in ("default", "const", "examples"):
            yield (key,), value


def _edit_problems(schema: dict[str, Any]) -> list[Problem]:
    problems = []
    seen: list[str] = []
    properties = schema.get("properties", {})
    for name, part in properties.items() if isinstance(properties, dict) else ():
        pointer = part.get(EDITS) if isinstance(part, dict) else None
        place = json_pointer(["properties", name, EDITS])
        if pointer is None:
            continue
        if not isinstance(pointer, str) or not pointer.startswith("/"):
            problems.append(_problem("invalid_pointer", "A JSON Pointer begins with /.", place))
        elif any(f"{pointer}/".startswith(f"{other}/") for other in seen) or any(
            f"{other}/".startswith(f"{pointer}/") for other in seen
        ):
            problems.append(_problem("duplicate_edit", "Two fields edit this place.", place))
        else:
            seen.append(pointer)
    return problems


def _edits(schema: dict[str, Any]) -> dict[str, str]:
    """Return which field edits which place."""
    properties = schema.get("properties", {})
    return {name: part[EDITS] for name, part in properties.items() if EDITS in part}


def _resolved(part: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a property's schema with what it refers to; what stands beside that has priority."""
    if not isinstance(part, dict):
        return {}
    target = _target(part["$ref"], schema) if "$ref" in part else None
    return {**_resolved(target, schema), **part} if target is not None else part


def _target(reference: object, schema: dict[str, Any]) -> Any:
    """Return the part of a schema that a reference names, None if there is none."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    return _get(schema, reference[1:])


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _get(value: Any, pointer: str) -> Any:
    """Return what stands at a place, None if nothing does."""
    for step in _steps(pointer):
        value = _child(value, step)
    return value


def _child(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and (index := _index(value, step)) is not None:
        return value[index]
    return None


def _put(value: Any, pointer: str, new: Any) -> bool:
    """Set a place in ``value``; False if there is none. An object may get a new key."""
    *way, last = _steps(pointer)
    for step in way:
        value = _child(value, step)
    if isinstance(value, dict):
        value[last] = new
        return True
    if isinstance(value, list) and (index := _index(value, last)) is not None:
        value[index] = new
        return True
    return False


def _index(items: list[Any], step: str) -> int | None:
    is_number = step.isascii() and step.isdecimal() and len(step) < 10
    return int(step) if is_number and int(step) < len(items) else None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:_LONG_TEXT]


def _problem(code: str, message: str, path: str) -> Problem:
    return Problem("", code, message, path)
