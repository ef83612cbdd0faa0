"""The types of steps: their fields, types, limits and defaults.

A new type of step is one model here (a subclass of `Step` with its own `step_type` and `config`)
and one line in `AnyStep`. Everywhere null means the default, and nothing is converted: "5" and true
are no numbers.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from workflows.core.approval import Approval
from workflows.core.names import Name
from workflows.core.parts import MAX_SECONDS, Names, Part, Seconds, Text, value_or_text

MAX_ITERATIONS = 10_000

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

Retries = Annotated[int, Field(ge=0, le=100)]


def not_empty(steps: "tuple[AnyStep, ...]") -> "tuple[AnyStep, ...]":
    """Refuse an empty list of steps."""
    # Not pydantic's min_length, which also complains where the only step is refused.
    if not steps:
        raise PydanticCustomError("too_short", "must have at least one step")
    return steps


def with_positions(given: Any) -> Any:
    """Return what holds `steps`, each with its position as `step_order` where it has none."""
    if not isinstance(given, dict) or not isinstance(given.get("steps"), list | tuple):
        return given
    steps = [
        {**step, "step_order": position}
        if isinstance(step, dict) and step.get("step_order") is None
        else step
        for position, step in enumerate(given["steps"], start=1)
    ]
    return {**given, "steps": steps}


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


class Fallback(Part):
    """What takes the place of a step whose attempts are used up: an output, or one attempt of
    another task or agent, with the step's own inputs."""

    output: Any = None
    task: Name | None = None
    agent_definition_id: Name | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError(
                "invalid_choice",
                "A fallback is one of output, task and agent_definition_id",
                {"about": ("output", "task", "agent_definition_id")},
            )
        return self


class StepConfig(Part):
    """What every type of step can be told. `queue` is what its concurrency is limited by."""

    inputs: dict[str, Any] = Field(default_factory=dict)
    retry: Retry = Field(default_factory=Retry)
    fallback: Fallback | None = None
    queue: Name | None = None
    continue_on_error: bool = False


class TaskConfig(StepConfig):
    """`task` is the name under which a callable was registered; `isolated`: run it in a process
    of its own, which is killed when its time is up."""

    task: Name
    isolated: bool = False


class Handoff(Part):
    """To which agent what a step made is handed on, under the step's name, with the entries
    `context_keys` of its agent's memory."""

    to_agent_id: Name
    context_keys: Names = ()


class AgentConfig(StepConfig):
    """What an agent must be able to do, and how one is chosen among those that can. `handoff` is
    carried out when the step completes."""

    handoff: Handoff | None = None
    required_capabilities: Names = ()
    assignment_strategy: Literal["round_robin", "least_loaded", "capability_match"] = (
        "capability_match"
    )


class ApprovalStepConfig(StepConfig):
    """`inputs` are what the approver is shown."""

    approval: Approval = Field(default_factory=Approval)


class ConditionConfig(StepConfig):
    """`branches`: which steps belong to which value of the expression; `default` to any other."""

    branches: dict[str, Names] = Field(default_factory=dict)
    default: Names = ()

    @property
    def has_branches(self) -> bool:
        """Whether the value chooses among steps."""
        return bool(self.branches or self.default)


class WaitConfig(StepConfig):
    """What is waited for: `seconds`, a moment (`until`, ISO 8601 with its offset), or the `event`
    of this name. The first two may be a reference. `on_timeout` is for an event that does not
    come within the step's `timeout_seconds`."""

    seconds: (
        Annotated[
            Annotated[float, Field(ge=0, le=MAX_SECONDS), Tag("value")]
            | Annotated[str, Tag("text")],
            Discriminator(value_or_text),
        ]
        | None
    ) = None
    until: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] | None = None
    event: Name | None = None
    on_timeout: Literal["fail", "continue"] = "fail"

    @model_validator(mode="after")
    def _waits_for_one_thing(self) -> Self:
        if sum(value is not None for value in (self.seconds, self.until, self.event)) != 1:
            raise PydanticCustomError(
                "invalid_choice",
                "A step waits for one of seconds, until and event",
                {"about": ("seconds", "until", "event")},
            )
        return self


class SubWorkflowConfig(StepConfig):
    """`workflow` is the id or name of a workflow of the same workspace; `inputs` are its input
    variables."""

    workflow: Name


class BlockConfig(Part):
    """The steps of a block. `for_each`: a list, or a reference to one; the block runs once for
    each of its items, which it sees as `${item}`, with `${index}` from 0."""

    #: A block does nothing itself: it has no inputs, no attempts and no queue.
    inputs: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    retry: ClassVar[Retry] = Retry()
    fallback: ClassVar[None] = None
    queue: ClassVar[None] = None

    steps: Annotated["tuple[AnyStep, ...]", Field(strict=False), AfterValidator(not_empty)]
    for_each: (
        Annotated[
            Annotated[list[Any], Tag("value")] | Annotated[str, Tag("text")],
            Discriminator(value_or_text),
        ]
        | None
    ) = None
    continue_on_error: bool = False

    @property
    def is_loop(self) -> bool:
        """Whether the steps run more than once, each time with an `${index}` of its own."""
        return self.for_each is not None

    @model_validator(mode="before")
    @classmethod
    def _order_is_position(cls, given: Any) -> Any:
        return with_positions(given)


class ParallelConfig(BlockConfig):
    """`max_concurrency`: how many of the steps run at once; of a mapped block, how many items."""

    max_concurrency: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] | None = None


class SequentialConfig(BlockConfig):
    """`repeat_until`: an expression over the block's own outputs; the block runs again until it
    holds, at most `max_iterations` times."""

    repeat_until: str | None = None
    max_iterations: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] = 100

    @property
    def is_loop(self) -> bool:
        """Whether the steps run more than once, each time with an `${index}` of its own."""
        return self.for_each is not None or self.repeat_until is not None

    @model_validator(mode="after")
    def _loops_one_way(self) -> Self:
        if self.repeat_until is not None and self.for_each is not None:
            raise PydanticCustomError(
                "invalid_choice",
                "A block has for_each or repeat_until, not both",
                {"field": "repeat_until", "about": ("for_each", "repeat_until")},
            )
        return self


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
                {
                    "field": "agent_definition_id",
                    "about": ("agent_definition_id", "agent_instance_id"),
                },
            )
        return self


class ApprovalStep(Step):
    """Opens a human gate."""

    step_type: Literal["approval"]
    config: ApprovalStepConfig = Field(default_factory=ApprovalStepConfig)


class ConditionStep(Step):
    """Evaluates its expression: true completes it, false skips it. With branches it completes
    whatever the value is, and the steps of the branches not taken are skipped."""

    step_type: Literal["condition"]
    condition_expression: str
    config: ConditionConfig = Field(default_factory=ConditionConfig)


class WaitStep(Step):
    """Waits for a time or an event, and holds nothing meanwhile."""

    step_type: Literal["wait"]
    config: WaitConfig


class SubWorkflowStep(Step):
    """Runs another workflow, and ends as that run does."""

    step_type: Literal["workflow"]
    config: SubWorkflowConfig


class Block(Step):
    """Holds steps, and ends when they have."""

    @model_validator(mode="after")
    def _is_not_retried(self) -> Self:
        if self.max_retries:
            raise PydanticCustomError(
                "not_supported",
                "A block is not tried again; its steps are",
                {"field": "max_retries", "about": ("max_retries",)},
            )
        return self


class ParallelStep(Block):
    """Runs its steps at once, as far as they do not depend on each other."""

    step_type: Literal["parallel"]
    config: ParallelConfig


class SequentialStep(Block):
    """Runs its steps one after the other."""

    step_type: Literal["sequential"]
    config: SequentialConfig


AnyStep = Annotated[
    TaskStep
    | AgentStep
    | ApprovalStep
    | ConditionStep
    | WaitStep
    | SubWorkflowStep
    | ParallelStep
    | SequentialStep,
    Field(discriminator="step_type"),
]
AnyBlock = ParallelStep | SequentialStep
ParallelConfig.model_rebuild()
SequentialConfig.model_rebuild()
ParallelStep.model_rebuild()
SequentialStep.model_rebuild()

STEP_TYPES: tuple[str, ...] = tuple(
    get_args(model.model_fields["step_type"].annotation)[0]
    for model in get_args(get_args(AnyStep)[0])
)


def choices_of(step: AnyStep) -> frozenset[str]:
    """Return the steps behind one of which it lets only some run."""
    if isinstance(step, ApprovalStep):
        return step.config.approval.branches
    if isinstance(step, ConditionStep):
        return frozenset(step.config.default).union(*step.config.branches.values())
    return frozenset()


def fallback_step(step: AnyStep) -> AnyStep | None:
    """Return the step that runs in the place of one whose attempts are used up, if any does."""
    fallback = step.config.fallback
    if fallback is None:
        return None
    shared: dict[str, Any] = {"name": step.name, "timeout_seconds": step.timeout_seconds}
    inputs = dict(step.config.inputs)
    if fallback.task is not None:
        config = TaskConfig(task=fallback.task, inputs=inputs)
        return TaskStep(step_type="task", config=config, **shared)
    if fallback.agent_definition_id is not None:
        return AgentStep(
            step_type="agent",
            agent_definition_id=fallback.agent_definition_id,
            config=AgentConfig(inputs=inputs),
            **shared,
        )
    return None
