"""What a workflow definition is: its fields, their types, limits and defaults.

The types of steps are in `steps.py`. Everywhere null means the default, and nothing is converted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from workflows.core.canonical import dumps_canonical
from workflows.core.errors import DefinitionError, Problem, UnstorableError, json_pointer
from workflows.core.names import STORED, Name, VariableName
from workflows.core.parts import Part, Seconds, Text
from workflows.core.steps import (
    STEP_TYPES,
    AnyStep,
    Block,
    Retries,
    Step,
    not_empty,
    with_positions,
)

DataType = Literal["string", "int", "float", "bool", "json"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a definition may measure; the settings can raise each of these.

    Attributes:
        steps: how many steps, nested ones included.
        document_bytes: the canonical JSON of the whole definition.
        depth: how many lists and objects stand inside one another.
        expression_characters: the source of one expression.
    """

    steps: int = 5_000
    document_bytes: int = 4 * 1024 * 1024
    depth: int = 32
    expression_characters: int = 2_000


DEFAULT_LIMITS = Limits()


class Variable(Part):
    """An input of a run. A variable that is neither required nor has a default is null."""

    name: VariableName
    data_type: DataType = "string"
    is_required: bool = False
    default_value: Any = None
    description: Text = ""

    _TYPES: ClassVar[dict[str, tuple[type, ...]]] = {
        "string": (str,),
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
    }

    def accepts(self, value: Any) -> bool:
        """Tell whether a value is of this variable's type; null is, where nothing is required."""
        if value is None:
            return not self.is_required
        if self.data_type == "json":
            return True
        if isinstance(value, bool):
            return self.data_type == "bool"
        return isinstance(value, self._TYPES[self.data_type])

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if self.default_value is not None and not self.accepts(self.default_value):
            raise PydanticCustomError(
                "wrong_type",
                "The default value of '{name}' is not of type {data_type}",
                {"name": self.name, "data_type": self.data_type, "field": "default_value"},
            )
        return self


class WorkflowConfig(Part):
    """`fail_fast`: after the first failure only steps start whose rule accepts failures."""

    fail_fast: bool = False


class WorkflowDefinition(Part):
    """A whole workflow. Its `max_retries` is what its steps have that name none of their own."""

    name: Name
    description: Text = ""
    steps: Annotated[
        tuple[AnyStep, ...],
        Field(strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(not_empty),
    ]
    variables: Annotated[tuple[Variable, ...], Field(strict=False)] = ()
    timeout_seconds: Seconds = 3_600
    max_retries: Retries = 3
    config: WorkflowConfig = Field(default_factory=WorkflowConfig)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _order_is_position(cls, given: Any) -> Any:
        return with_positions(given)

    def retries_of(self, step: Step) -> int:
        """Return how often a step is tried again: its own number, or else the workflow's."""
        if isinstance(step, Block):
            return 0
        return self.max_retries if step.max_retries is None else step.max_retries


def parse_definition(document: Any, limits: Limits = DEFAULT_LIMITS) -> WorkflowDefinition:
    """Read a definition from a document: the shapes, types and limits of its fields.

    What the fields say about one another (cycles, references, …) is checked by
    `validation.validate`.

    Raises:
        DefinitionError: with everything that is wrong.
    """
    if problem := find_unreadable(document, limits):
        raise DefinitionError([problem])
    return read_fields(document, is_stored=False)


def read_fields(document: dict[str, Any], *, is_stored: bool = True) -> WorkflowDefinition:
    """Read a definition from a document in which `find_unreadable` finds nothing.

    Args:
        is_stored: it was accepted before; then it may bear names that are refused by now.

    Raises:
        DefinitionError: with everything that is wrong.
    """
    try:
        return WorkflowDefinition.model_validate(document, context=STORED if is_stored else None)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise DefinitionError([problem_of(detail, document) for detail in details])


def find_unreadable(document: Any, limits: Limits = DEFAULT_LIMITS) -> Problem | None:
    """Return what makes it pointless to look at the fields, if anything does."""
    if not isinstance(document, dict):
        return Problem("", "wrong_type", "A definition is an object with a name and steps", "")
    count = _count_steps(document)
    if count > limits.steps:
        message = f"The workflow has {count} steps; at most {limits.steps} are accepted"
        return Problem("", "too_many_steps", message, "/steps")
    try:
        dumps_canonical(document, max_bytes=limits.document_bytes, max_depth=limits.depth)
    except UnstorableError as error:
        return Problem(
            "", error.reason, f"The definition is refused: {error.message}", error.path or ""
        )
    return None


def _count_steps(document: Mapping[str, Any]) -> int:
    """Return how many steps stand in a document, however deep; whatever else may stand there."""
    count = 0
    holders: list[Any] = [document]
    while holders:
        holder = holders.pop()
        steps = holder.get("steps") if isinstance(holder, dict) else None
        if isinstance(steps, list | tuple):
            count += len(steps)
            holders += [step.get("config") for step in steps if isinstance(step, dict)]
    return count


_PLAINER = {
    "a valid tuple": "a list",
    "a valid dictionary or object to extract fields from": "an object",
    "a valid dictionary": "an object",
    "a valid": "a",
    "a integer": "an integer",
    " after validation": "",
}

# pydantic's names for what went wrong → ours. Names of our own pass through.
_ERROR_TYPES = {
    "extra_forbidden": "unknown_field",
    "union_tag_invalid": "unknown_step_type",
    "union_tag_not_found": "missing",
    "literal_error": "invalid_choice",
    "string_pattern_mismatch": "invalid_name",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "int_from_float": "wrong_type",
}

#: List → the tags of the kinds of entries that it may hold.
_TAGS = {"steps": STEP_TYPES} | dict.fromkeys(("all_of", "any_of", "of"), ("name", "policy"))
#: Field → the tags of the kinds of values that it may have.
_FIELD_TAGS = {"min_approvals": ("number", "word")} | dict.fromkeys(
    ("seconds", "for_each"), ("value", "text")
)


def place_of_error(detail: ErrorDetails) -> list[int | str]:
    """Return the keys that lead to what pydantic found wrong."""
    path = _without_tags(detail["loc"])
    if detail["type"].startswith("union_tag"):
        path.append("step_type")
    elif "field" in (context := detail.get("ctx", {})):
        path.append(context["field"])
    return path


def problem_of(detail: ErrorDetails, document: Mapping[str, Any]) -> Problem:
    """Return what pydantic found wrong with a document, in our words."""
    kind = detail["type"]
    path = place_of_error(detail)
    error_type = _ERROR_TYPES.get(kind) or ("wrong_type" if kind.endswith("_type") else kind)
    return Problem(
        step_name=_step_name(path, document),
        error_type=error_type,
        message=_sentence(error_type, _field_name(path), detail),
        path=json_pointer(path),
    )


def _without_tags(location: tuple[int | str, ...]) -> list[int | str]:
    """Drop what pydantic puts behind a position, to tell what stands there: `steps, 3, agent`."""
    path: list[int | str] = []
    for part in location:
        before, last = ["", "", *path][-2:]
        tags = _TAGS.get(str(before)) if isinstance(last, int) else _FIELD_TAGS.get(str(last))
        if part not in (tags or ()):
            path.append(part)
    return path


def _step_name(path: list[int | str], document: Mapping[str, Any]) -> str:
    """Return the name of the innermost step that a path leads into."""
    value: Any = document
    name = ""
    for before, part in pairwise(["", *path]):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            break
        if before == "steps" and isinstance(value, dict) and isinstance(value.get("name"), str):
            name = value["name"]
    return name


def _field_name(path: list[int | str]) -> str:
    if len(path) > 1 and isinstance(path[-1], int):
        return f"{path[-2]}[{path[-1]}]"
    return str(path[-1]) if path else ""


def _sentence(error_type: str, field: str, detail: ErrorDetails) -> str:
    message = detail["msg"]
    if error_type == "unknown_step_type":
        context = detail["ctx"]
        return f"There is no step type '{context['tag']}'; there are {', '.join(STEP_TYPES)}"
    if error_type == "unknown_field":
        return f"There is no field '{field}' here"
    if error_type == "missing":
        return message if message.startswith("An ") else f"'{field}' is required"
    if detail["type"] == "string_pattern_mismatch":
        return f"'{field}' must be letters, digits and _ and not begin with a digit"
    message = re.sub(r"^(Input|String|Tuple) should ", "must ", message)
    for theirs, ours in _PLAINER.items():
        message = message.replace(theirs, ours)
    return message if message[0].isupper() else f"'{field}' {message}"
