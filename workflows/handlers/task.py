"""Steps of type ``task``: a registered callable."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache

from django.conf import settings
from django.db import close_old_connections

from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.core.steps import TaskStep
from workflows.handlers import StepContext
from workflows.handlers.isolation import run_isolated
from workflows.tasks import Task, TaskFailure, find_task

_MAX_MESSAGE = 2_000


class TaskHandler:
    """Calls the task with the step's inputs: an async one on the loop, a sync one in a thread, and
    one that is isolated in a process of its own."""

    async def run(self, context: StepContext) -> Outcome:
        assert isinstance(context.step, TaskStep)
        name = context.step.config.task
        task = find_task(name)
        if task is None:
            return Failed("unknown_task", f"No task is registered as {name!r} here", is_final=True)
        if context.step.config.isolated:
            return await run_isolated(context)
        try:
            arguments = task.read(context.inputs)
            if task.takes_context:
                arguments["context"] = context
            return Completed(await call_task(task, arguments, context.late))
        except TaskFailure as error:
            if not error.is_final:
                raise
            return Failed(error.code[:100], _storable(str(error)), is_final=True)


def _storable(text: str) -> str:
    return text[:_MAX_MESSAGE].replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


async def call_task(
    task: Task, arguments: dict[str, object], late: Callable[[], None] | None = None
) -> object:
    """Return what a task makes of its arguments: an async one on the loop, a sync one in one of
    this process's ``MGX_SYNC_THREADS`` threads.

    Nothing can stop a thread: ``late`` is called in it at its end if this was cancelled before.
    """
    if task.is_async:
        return await task.function(**arguments)
    # The thread's log lines are about the same step.
    thread = _threads().submit(copy_context().run, _call, task, arguments)
    try:
        return await asyncio.wrap_future(thread)
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if late and caller and caller.cancelling():  # and not an error of the task's own
            thread.add_done_callback(lambda ended: None if ended.cancelled() else late())
        raise


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
