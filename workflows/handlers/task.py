"""Steps of type ``task``: a registered callable."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

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
        return Completed(await call_task(task, arguments))


async def call_task(task: Task, arguments: dict[str, object]) -> object:
    """Return what a task makes of its arguments: an async one on the loop, a sync one in one of
    this process's ``MGX_SYNC_THREADS`` threads."""
    if task.is_async:
        return await task.function(**arguments)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads(), _call, task, arguments)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.MGX_SYNC_THREADS, thread_name_prefix="task")


def _call(task: Task, arguments: dict[str, object]) -> object:
    try:
        return task.function(**arguments)
    except (StopIteration, GeneratorExit) as error:
        # What Python itself means by these ends the coroutine that waits for this thread.
        raise RuntimeError(type(error).__name__) from error
    finally:
        close_old_connections()
