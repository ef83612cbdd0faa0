"""Agents that are Python callables of this installation.

The agent's ``config.task`` names a registered task (``workflows/tasks.py``), which is given the
step's inputs and, if it asks for it, the ``context``.
"""

from typing import Any

from workflows.handlers import StepContext
from workflows.handlers.task import call_task
from workflows.tasks import find_task


class UnknownTask(Exception):
    """The agent's ``config.task`` names no registered task."""

    code = "unknown_task"


class PythonBackend:
    """Calls the task: an async one on the loop, a sync one in a thread."""

    async def run(self, config: dict[str, Any], context: StepContext) -> Any:
        task = find_task(config.get("task", ""))
        if task is None:
            raise UnknownTask(f"No task is registered as {config.get('task')!r} here")
        arguments = dict(context.inputs)
        if task.takes_context:
            arguments["context"] = context
        return await call_task(task, arguments, context.late)
