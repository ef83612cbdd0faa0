"""What a model may call: the registered tasks that its agent's config lists, and no others."""

import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from inspect import getdoc
from typing import Any
from uuid import uuid5

from agents.backends.chat import ToolCall
from agents.faults import AgentFault
from workflows.core.canonical import dumps_canonical, loads_strict
from workflows.core.errors import CanonicalError, UnstorableError
from workflows.handlers import StepContext
from workflows.handlers.task import call_task
from workflows.tasks import Task, TaskFailure, find_task

logger = logging.getLogger("agents")

#: Longer than this no result is told to the model.
_LONGEST_RESULT = 65_536
_MOST_CALLS = 100
_LONGEST_NAME = 64


@dataclass(slots=True)
class ToolContext(StepContext):
    """What a tool knows of the step that it is called in."""

    call: str = ""

    @property
    def idempotency_key(self) -> str:
        """Another one for each call of a step, and the same at each attempt."""
        return str(uuid5(self.step_execution_id, self.call))


class Toolbox:
    """The tools of one conversation. ``log`` says, for people, what was called and refused."""

    def __init__(self, names: Iterable[str], context: StepContext) -> None:
        self._context = context
        self._tasks = {_told(name): task for name in names if (task := find_task(name))}
        self._made: Counter[str] = Counter()
        self.log: list[dict[str, Any]] = []

    def described(self) -> list[dict[str, Any]]:
        """Return the tools as the API takes them."""
        return [
            {
                "type": "function",
                "function": {
                    "name": told,
                    "description": (getdoc(task.function) or task.name).split("\n\n")[0][:1_000],
                    "parameters": task.input_schema(),
                },
            }
            for told, task in self._tasks.items()
        ]

    async def call(self, wanted: ToolCall) -> dict[str, Any]:
        """Return the message that answers a call: the result, or why there is none.

        What a tool raises besides TaskFailure gets out, as it does from a step.
        """
        if len(self.log) >= _MOST_CALLS:
            raise AgentFault(f"The model made more than {_MOST_CALLS} calls", "too_many_calls")
        task = self._tasks.get(wanted.function.name)
        if task is None:
            name = wanted.function.name[:_LONGEST_NAME]
            logger.warning("%s asked for the tool %r, which it does not have", self._agent, name)
            self.log.append({"tool": name, "outcome": "refused"})
            return _message(wanted, {"error": "There is no such tool. Nothing was done."})
        result, outcome = await self._result(task, wanted.function.arguments)
        self.log.append({"tool": task.name, "outcome": outcome})
        return _message(wanted, result)

    @property
    def _agent(self) -> str:
        return f"The agent of {self._context.name}"

    async def _result(self, task: Task, given: str) -> tuple[dict[str, Any], str]:
        """Return what a tool came to, and that in a word."""
        try:
            inputs = loads_strict(given or "{}")
        except CanonicalError as error:
            return {"error": f"The arguments are no JSON: {error.message}"}, "invalid_inputs"
        if not isinstance(inputs, dict) or "context" in inputs:
            return {"error": "The arguments are not those of the tool."}, "invalid_inputs"
        try:
            arguments: dict[str, Any] = task.read(inputs)
            if task.takes_context:
                arguments["context"] = self._context_of(task, inputs)
            result = {"result": await call_task(task, arguments)}
            dumps_canonical(result, max_bytes=_LONGEST_RESULT)
        except TaskFailure as error:
            return {"error": str(error)[:2_000], "code": error.code}, error.code
        except UnstorableError as error:
            return {"error": f"It was done, but its result cannot be told: {error}"}, "completed"
        return result, "completed"

    def _context_of(self, task: Task, inputs: dict[str, Any]) -> ToolContext:
        call = f"{task.name} {dumps_canonical(inputs)}"
        self._made[call] += 1
        known = {each.name: getattr(self._context, each.name) for each in fields(StepContext)}
        return ToolContext(**known | {"inputs": inputs}, call=f"{call} {self._made[call]}")


def _told(name: str) -> str:
    """Return a task's name as the API takes names of tools."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME]


def _message(wanted: ToolCall, content: dict[str, Any]) -> dict[str, Any]:
    text = dumps_canonical(content, max_bytes=2 * _LONGEST_RESULT)
    return {"role": "tool", "tool_call_id": wanted.id, "content": text}
