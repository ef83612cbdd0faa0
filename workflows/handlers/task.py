"""Steps of type ``task``: a registered callable."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from django.conf import settings
from django.db import close_old_connections

from workflows.core.definition import TaskStep
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.handlers import StepContext
from workflows.tasks import Task, find_task


class TaskHandler:
    """Calls the task with the step's inputs: an async one on the loop, a sync one in a thread."""

    async def run(self, context: StepContext) -> Outcome:
        assert isinstance(context.step, TaskStep)
        name = context.step.config.task
        task = find_task(name)
        if task is None:
            return Failed("unknown_task", f"No task is registered as {name!r} here", is_final=True)
        arguments = dict(context.inputs)
        if task.takes_context:
            arguments["context"] = context
        try:
            task.signature.bind(**arguments)
        except TypeError as error:
            return Failed("invalid_inputs", f"{name}: {error}", is_final=True)
        if task.is_async:
            return Completed(await task.function(**arguments))
        loop = asyncio.get_running_loop()
        return Completed(await loop.run_in_executor(self._threads, _call, task, arguments))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(settings.MGX_SYNC_THREADS, thread_name_prefix="task")


def _call(task: Task, arguments: dict[str, object]) -> object:
    try:
        return task.function(**arguments)
    finally:
        close_old_connections()
