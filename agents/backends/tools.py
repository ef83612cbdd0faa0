"""The calls of a model: the tools that its agent's config lists, and no others; those that need it
are made once people have approved them.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any
from uuid import uuid5

from agents.backends.chat import ToolCall
from agents.backends.conversation import Conversation
from agents.backends.tool_kinds import Tool, ToolUse, described, told_name
from agents.faults import AgentFault
from agents.services.assignment import Assigned
from agents.work import work_of
from workflows.core.canonical import dumps_canonical, loads_strict
from workflows.core.errors import CanonicalError, UnstorableError
from workflows.core.outcomes import Asks
from workflows.handlers import StepContext
from workflows.tasks import TaskFailure

logger = logging.getLogger("agents")

#: Longer than this no result is told to the model.
_LONGEST_RESULT = 65_536
_MOST_CALLS = 100


@dataclass(slots=True)
class ToolContext(StepContext):
    """What a tool knows of the step that it is called in."""

    call: str = ""

    @property
    def idempotency_key(self) -> str:
        """Another one for each call of a step, and the same at each attempt."""
        return str(uuid5(self.step_execution_id, self.call))


class Toolbox:
    """The tools of one conversation, which it adds the answers to."""

    def __init__(
        self,
        tools: Iterable[tuple[Tool, ToolUse | None]],
        context: StepContext,
        conversation: Conversation,
    ) -> None:
        self._context = context
        self._tools = {told_name(tool.name): (tool, use) for tool, use in tools}
        self._conversation = conversation

    def described(self) -> list[dict[str, Any]]:
        """Return the tools as the API takes them."""
        return [described(tool) for tool, _ in self._tools.values()]

    async def answer_calls(self) -> Asks | None:
        """Answer what the model has called, one after the other, up to a call that people are to
        be asked about: then return what to ask.

        What a tool raises besides TaskFailure gets out, as it does from a step.
        """
        for call in self._conversation.open_calls():
            if asks := await self._answer(call):
                return asks
        return None

    async def _answer(self, wanted: ToolCall) -> Asks | None:
        if len(self._conversation.log) >= _MOST_CALLS:
            raise AgentFault(f"The model made more than {_MOST_CALLS} calls", "too_many_calls")
        known = self._tools.get(wanted.function.name)
        if known is None:
            name = wanted.function.name[:64]
            agent = f"The agent of {self._context.name}"
            logger.warning("%s asked for the tool %r, which it does not have", agent, name)
            self._say(wanted, name, "refused", _error("There is no such tool"))
            return None
        tool, use = known
        try:
            arguments = _read(wanted.function.arguments)
            tool.check(arguments)
        except TaskFailure as error:
            self._say(wanted, tool.name, error.code, _told(error))
            return None
        if use and use.needs_approval:
            return await self._ask(wanted, tool, use, arguments)
        result, outcome = await self._result(tool, arguments)
        self._say(wanted, tool.name, outcome, result)
        return None

    async def _ask(
        self, wanted: ToolCall, tool: Tool, use: ToolUse, arguments: dict[str, Any]
    ) -> Asks | None:
        """Return what to ask; once it is answered, do what people decided."""
        answer = self._conversation.answer
        if answer is None:
            return self._question(tool, use, arguments)
        self._conversation.asks_about, self._conversation.answer = "", None
        who = answer.get("decided_by") or "Nobody"
        if not answer.get("approved"):
            words = str(answer.get("feedback") or "no reason was given").rstrip(".")
            said = f"{who} did not approve this call ({answer.get('status')}): {words}"
            self._say(wanted, tool.name, "not_approved", _error(said), who)
        else:
            arguments = answer["payload"]["arguments"]
            result, outcome = await self._result(tool, arguments)
            result["approved_by"] = who
            if feedback := answer.get("feedback"):
                result["their_words"] = feedback
            result["arguments"] = arguments
            self._say(wanted, tool.name, outcome, result, who)
        # Where another attempt follows, it neither asks nor calls again.
        work_of(self._context).memo = self._conversation.memo()
        return None

    def _question(self, tool: Tool, use: ToolUse, arguments: dict[str, Any]) -> Asks:
        agent = self._context.prepared
        name = agent.name if isinstance(agent, Assigned) else self._context.name
        self._conversation.asks_about = tool.name
        work_of(self._context).memo = self._conversation.memo()
        title = f"{name} wants to call {tool.name}"
        where = f"{self._context.name} of {self._context.workflow_name}"
        description = (
            f"In {where}, run {self._context.run_number}. If you approve, it is called once with"
            " exactly these arguments; if not, the agent is told so and goes on without it."
        )
        payload: dict[str, Any] = {"tool": tool.name, "arguments": arguments}
        if said := self._conversation.last_words():
            payload["agent_says"] = said
        return Asks(use.asks(title, description), payload)

    async def _result(self, tool: Tool, arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return what a tool came to, and that in a word."""
        try:
            result = {"result": await tool.call(arguments, self._context_of(tool, arguments))}
            dumps_canonical(result, max_bytes=_LONGEST_RESULT)
        except TaskFailure as error:
            return _told(error), error.code
        except UnstorableError as error:
            return {"error": f"It was done, but its result cannot be told: {error}"}, "completed"
        return result, "completed"

    def _context_of(self, tool: Tool, arguments: dict[str, Any]) -> ToolContext:
        call = self._conversation.numbered(f"{tool.name} {dumps_canonical(arguments)}")
        known = {each.name: getattr(self._context, each.name) for each in fields(StepContext)}
        return ToolContext(
            **known | {"inputs": arguments, "notes": work_of(self._context)}, call=call
        )

    def _say(
        self, wanted: ToolCall, name: str, outcome: str, content: dict[str, Any], who: str = ""
    ) -> None:
        text = dumps_canonical(content, max_bytes=3 * _LONGEST_RESULT)
        self._conversation.add_result(wanted, name, outcome, text, decided_by=who)


def _read(given: str) -> dict[str, Any]:
    try:
        arguments = loads_strict(given or "{}")
    except CanonicalError as error:
        message = f"The arguments are no JSON: {error.message}"
        raise TaskFailure(message, "invalid_inputs") from None
    if not isinstance(arguments, dict):
        raise TaskFailure("The arguments are not those of the tool.", "invalid_inputs")
    return arguments


def _error(message: str) -> dict[str, Any]:
    return {"error": f"{message}. Nothing was done."}


def _told(error: TaskFailure) -> dict[str, Any]:
    return {"error": str(error)[:2_000], "code": error.code}
