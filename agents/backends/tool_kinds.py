"""What a model may call: one class a kind of tool, all of them alike to the model."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from inspect import getdoc
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from agents.backends.mcp_tools import Sessions, offered
from agents.faults import AgentFault
from agents.offers import NoOffer, Offer
from agents.work import work_of
from workflows.core.approval import Approval
from workflows.core.names import Name
from workflows.handlers import StepContext
from workflows.handlers.task import call_task
from workflows.tasks import Task, TaskFailure, find_task

_LONGEST_NAME: Final = 64
_LONGEST_DESCRIPTION: Final = 1_000
_OF_A_SERVER: Final = re.compile(r"[A-Za-z0-9_-]{1,50}/[A-Za-z0-9_.-]{1,128}")


def _known(name: str) -> str:
    """Refuse what is neither a task nor a tool of a server; what servers offer is known later."""
    if find_task(name) is None and not _OF_A_SERVER.fullmatch(name):
        raise PydanticCustomError("unknown_task", "No task is registered as {name}", {"name": name})
    return name


class ToolUse(BaseModel):
    """One entry of an agent's ``tools``: the name of a tool, or an object that has it as ``tool``.

    ``needs_approval``: people are asked before each call. ``required_approvers``, ``risk`` and
    ``expires_after_seconds`` are then as in a gate.
    """

    model_config = ConfigDict(extra="forbid")

    tool: Annotated[str, AfterValidator(_known)]
    needs_approval: bool = False
    required_approvers: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    risk: Literal["low", "medium", "high"] = "high"
    expires_after_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 86_400

    @model_validator(mode="before")
    @classmethod
    def _may_be_a_name(cls, given: Any) -> Any:
        return {"tool": given} if isinstance(given, str) else given

    def asks(self, title: str, description: str) -> Approval:
        """Return how people are asked; whatever they answer, the model is told."""
        return Approval(
            title=title[:500],
            description=description,
            required_approvers=self.required_approvers,
            risk=self.risk,
            expires_after_seconds=self.expires_after_seconds,
            on_reject="continue",
            on_timeout="continue",
        )


class Tool(Protocol):
    """Something that a model can call."""

    #: As the config and the log call it.
    name: str
    description: str
    #: The JSON Schema of its arguments, an object.
    parameters: dict[str, Any]

    def check(self, arguments: dict[str, Any]) -> None:
        """Raise TaskFailure where it could not be called with these at all."""
        ...

    async def call(self, arguments: dict[str, Any], context: StepContext) -> Any:
        """Return its result, as JSON; ``context`` has the call's own idempotency key.

        TaskFailure is told to the model; anything else fails the step's attempt.
        """
        ...


class TaskTool:
    """A registered task."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.name = task.name
        self.description = (getdoc(task.function) or task.name).split("\n\n")[0]
        self.parameters = task.input_schema()

    def check(self, arguments: dict[str, Any]) -> None:
        if "context" in arguments:
            raise TaskFailure("The arguments are not those of the tool.", "invalid_inputs")
        self._task.read(arguments)

    async def call(self, arguments: dict[str, Any], context: StepContext) -> Any:
        given: dict[str, Any] = self._task.read(arguments)
        if self._task.takes_context:
            given["context"] = context
        return await call_task(self._task, given)


class RememberTool:
    """Keeps something in the agent's memory, with the result of the step."""

    name = "remember"
    description = "Keep something in your memory for later work, in the place of what has this key."
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {"key": {"type": "string"}, "value": {}},
        "required": ["key", "value"],
        "additionalProperties": False,
    }

    def check(self, arguments: dict[str, Any]) -> None:
        key = arguments.get("key")
        if set(arguments) != {"key", "value"} or not isinstance(key, str) or not 0 < len(key) < 256:
            raise TaskFailure("It takes a key of 1 to 255 characters and a value", "invalid_inputs")

    async def call(self, arguments: dict[str, Any], context: StepContext) -> Any:
        work_of(context).remembered[arguments["key"]] = arguments["value"]
        return "It is kept once this work is done."


def tools_of(
    uses: Iterable[ToolUse], offers: Mapping[str, Offer | NoOffer] = {}, *, remembers: bool
) -> list[tuple[Tool, ToolUse | None]]:
    """Return the tools of an agent, with what its config says of each. ``offers``: those of tool
    servers, by their names.

    Raises AgentFault ``agent_config`` where one is not offered, or two are alike to the model: it
    could call one for the other, which people are to approve.
    """
    found: list[tuple[Tool, ToolUse | None]] = []
    sessions = Sessions()
    for use in uses:
        if task := find_task(use.tool):
            found.append((TaskTool(task), use))
        else:
            found.append((offered(offers.get(use.tool), use.tool, sessions), use))
    if remembers:
        found.append((RememberTool(), None))
    names = Counter(told_name(tool.name) for tool, _ in found)
    if alike := [name for name, times in names.items() if times > 1]:
        raise AgentFault(f"Several of its tools are {alike[0]} to the model", "agent_config")
    return found


def told_apart(uses: list[ToolUse]) -> list[ToolUse]:
    """Refuse tools that the model could not tell apart."""
    names = Counter(told_name(use.tool) for use in uses)
    if alike := [name for name, times in names.items() if times > 1]:
        raise PydanticCustomError(
            "not_unique", "Several of them are {name} to the model", {"name": alike[0]}
        )
    return uses


def told_name(name: str) -> str:
    """Return a tool's name as the API takes names of tools."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME]


def described(tool: Tool) -> dict[str, Any]:
    """Return a tool as the API takes it."""
    return {
        "type": "function",
        "function": {
            "name": told_name(tool.name),
            "description": tool.description[:_LONGEST_DESCRIPTION],
            "parameters": tool.parameters,
        },
    }
