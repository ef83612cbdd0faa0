"""What a workflow definition is: its fields, their types, limits and defaults.

A new type of step is one model here (a subclass of `Step` with its own `step_type` and `config`)
and one line in `AnyStep`. Everywhere null means the default, and nothing is converted: "5" and true
are no numbers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from workflows.core.canonical import dumps_canonical
from workflows.core.errors import DefinitionError, Problem, UnstorableError, json_pointer
from workflows.core.names import Name, VariableName

MAX_SECONDS = 365 * 24 * 3600

DataType = Literal["string", "int", "float", "bool", "json"]
TriggerRule = Literal[
    "all_success",
    "all_done",
    "all_failed",
    "one_success",
    "one_failed",
    "none_failed",
    "none_failed_min_one_success",
    "all_skipped",
    "always",
]


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

Text = Annotated[str, StringConstraints(max_length=10_000)]
Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
Retries = Annotated[int, Field(ge=0, le=100)]
# A list in the document, immutable here.
Names = Annotated[tuple[Name, ...], Field(strict=False)]


class Part(BaseModel):
    """What all parts share: no unknown keys, no conversions, null is the default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        return {k: v for k, v in given.items() if v is not None or k not in fields}


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


class Retry(Part):
    """How long to wait between attempts, and after which error codes to make one.

    `jitter` is the share of the delay that is random.
    """

    backoff: Literal["fixed", "exponential"] = "exponential"
    initial_seconds: Annotated[float, Field(ge=0, le=86_400)] = 1.0
    max_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    retry_on: Annotated[tuple[str, ...], Field(strict=False)] = ()
    no_retry_on: Annotated[tuple[str, ...], Field(strict=False)] = ()


class StepConfig(Part):
    """What every type of step can be told."""

    inputs: dict[str, Any] = Field(default_factory=dict)
    retry: Retry = Field(default_factory=Retry)
    continue_on_error: bool = False


class TaskConfig(StepConfig):
    """`task` is the name under which a callable was registered."""

    task: Name


class AgentConfig(StepConfig):
    """What an agent must be able to do, and how one is chosen among those that can."""

    required_capabilities: Names = ()
    assignment_strategy: Literal["round_robin", "least_loaded", "capability_match"] = (
        "capability_match"
    )


class Approval(Part):
    """A request for a human decision. `title` and `description` may hold references."""

    title: Annotated[str, StringConstraints(max_length=500)] = ""
    description: Text = ""
    required_approvers: Names = ()
    auto_approve_after_seconds: Seconds | None = None
    expires_after_seconds: Seconds = 86_400
    prevent_self_approval: bool = False
    risk: Literal["low", "medium", "high"] = "medium"
    on_reject: Literal["fail", "continue"] = "fail"
    on_timeout: Literal["fail", "continue", "approve"] = "fail"

    @model_validator(mode="after")
    def _auto_approve_comes_first(self) -> Self:
        after = self.auto_approve_after_seconds
        if after is not None and after >= self.expires_after_seconds:
            raise PydanticCustomError(
                "auto_approve_after_expiry",
                "Auto-approval (after {after} s) must come before the expiry (after {end} s)",
                {
                    "after": after,
                    "end": self.expires_after_seconds,
                    "field": "auto_approve_after_seconds",
                },
            )
        return self


class ApprovalStepConfig(StepConfig):
    """`inputs` are what the approver is shown."""

    approval: Approval = Field(default_factory=Approval)


class Step(Part):
    """What every step has. `step_order` is the position in the list where none is given."""

    name: Name
    description: Text = ""
    step_order: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    depends_on_steps: Names = ()
    condition_expression: str | None = None
    trigger_rule: TriggerRule = "all_success"
    timeout_seconds: Seconds | None = None
    max_retries: Retries | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class TaskStep(Step):
    """Calls a registered callable."""

    step_type: Literal["task"]
    config: TaskConfig


class AgentStep(Step):
    """Assigns an agent and runs it."""

    step_type: Literal["agent"]
    agent_definition_id: Name | None = None
    agent_instance_id: Name | None = None
    config: AgentConfig = Field(default_factory=AgentConfig)

    @model_validator(mode="after")
    def _names_an_agent(self) -> Self:
        if self.agent_definition_id is None and self.agent_instance_id is None:
            raise PydanticCustomError(
                "missing",
                "An agent step needs agent_definition_id or agent_instance_id",
                {"field": "agent_definition_id"},
            )
        return self


class ApprovalStep(Step):
    """Opens a human gate."""

    step_type: Literal["approval"]
    config: ApprovalStepConfig = Field(default_factory=ApprovalStepConfig)


class ConditionStep(Step):
    """Evaluates its expression: true completes it, false skips it."""

    step_type: Literal["condition"]
    condition_expression: str
    config: StepConfig = Field(default_factory=StepConfig)


AnyStep = Annotated[
    TaskStep | AgentStep | ApprovalStep | ConditionStep, Field(discriminator="step_type")
]

STEP_TYPES: tuple[str, ...] = tuple(
    get_args(model.model_fields["step_type"].annotation)[0]
    for model in get_args(get_args(AnyStep)[0])
)


class WorkflowConfig(Part):
    """`fail_fast`: after the first failure only steps start whose rule accepts failures."""

    fail_fast: bool = False


def _not_empty(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    # Not pydantic's min_length, which also complains where the only step is refused.
    if not steps:
        raise PydanticCustomError("too_short", "must have at least one step")
    return steps


class WorkflowDefinition(Part):
    """A whole workflow. Its `max_retries` is what its steps have that name none of their own."""

    name: Name
    description: Text = ""
    steps: Annotated[
        tuple[AnyStep, ...],
        Field(strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(_not_empty),
    ]
    variables: Annotated[tuple[Variable, ...], Field(strict=False)] = ()
    timeout_seconds: Seconds = 3_600
    max_retries: Retries = 3
    config: WorkflowConfig = Field(default_factory=WorkflowConfig)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _order_is_position(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("steps"), list | tuple):
            return given
        steps = [
            {**step, "step_order": position}
            if isinstance(step, dict) and step.get("step_order") is None
            else step
            for position, step in enumerate(given["steps"], start=1)
        ]
        return {**given, "steps": steps}

    def retries_of(self, step: Step) -> int:
        """Return how often a step is tried again: its own number, or else the workflow's."""
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
    return read_fields(document)


def read_fields(document: dict[str, Any]) -> WorkflowDefinition:
    """Read a definition from a document in which `find_unreadable` finds nothing.

    Raises:
        DefinitionError: with everything that is wrong.
    """
    try:
        return WorkflowDefinition.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise DefinitionError([_problem(detail, document) for detail in details])


def find_unreadable(document: Any, limits: Limits = DEFAULT_LIMITS) -> Problem | None:
    """Return what makes it pointless to look at the fields, if anything does."""
    if not isinstance(document, dict):
        return Problem("", "wrong_type", "A definition is an object with a name and steps", "")
    steps = document.get("steps")
    if isinstance(steps, list | tuple) and len(steps) > limits.steps:
        message = f"The workflow has {len(steps)} steps; at most {limits.steps} are accepted"
        return Problem("", "too_many_steps", message, "/steps")
    try:
        dumps_canonical(document, max_bytes=limits.document_bytes, max_depth=limits.depth)
    except UnstorableError as error:
        return Problem(
            "", error.reason, f"The definition is refused: {error.message}", error.path or ""
        )
    return None


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


def _problem(detail: ErrorDetails, document: Mapping[str, Any]) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    path = _without_tags(detail["loc"])
    if kind.startswith("union_tag"):
        path.append("step_type")
    elif "field" in context:
        path.append(context["field"])
    error_type = _ERROR_TYPES.get(kind) or ("wrong_type" if kind.endswith("_type") else kind)
    return Problem(
        step_name=_step_name(path, document),
        error_type=error_type,
        message=_sentence(error_type, _field_name(path), detail),
        path=json_pointer(path),
    )


def _without_tags(location: tuple[int | str, ...]) -> list[int | str]:
    """Drop the step type that pydantic puts behind a position: `steps, 3, agent, name`."""
    path: list[int | str] = []
    for part in location:
        is_tag = len(path) > 1 and path[-2] == "steps" and isinstance(path[-1], int)
        if not (is_tag and part in STEP_TYPES):
            path.append(part)
    return path


def _step_name(path: list[int | str], document: Mapping[str, Any]) -> str:
    if len(path) < 2 or path[0] != "steps" or not isinstance(path[1], int):
        return ""
    step = document["steps"][path[1]]
    name = step.get("name") if isinstance(step, dict) else None
    return name if isinstance(name, str) else ""


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
