"""Tasks with ``config.isolated``: each attempt in a process of its own, which can be killed.

For what computes for long, or may crash. Starting the process takes about a second.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from weakref import WeakKeyDictionary

from django.conf import settings

from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.core.steps import TaskStep
from workflows.handlers import StepContext

#: Room for what stands around an output.
_SLACK = 65_536
#: What of a context stays in this process.
_OURS = frozenset({"prepared", "progress", "late", "clock"})

_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def run_isolated(context: StepContext) -> Outcome:
    """Run the context's task, as soon as fewer processes than the machine has cores do: only then
    does its time begin.

    The process and all that it has started end with this call, however it ends, and with the
    worker: by SIGKILL, for a task may be deaf to anything else. A process that ends without an
    answer fails the attempt with ``process_died``.
    """
    async with _place(context):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "workflows.isolated",
            stdin=PIPE,
            stdout=PIPE,
            limit=settings.MGX_MAX_OUTPUT_BYTES + _SLACK,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            return await _converse(process, _request(context))
        finally:
            await _end(process)


@asynccontextmanager
async def _place(context: StepContext) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    clock, seconds = context.clock, context.step.timeout_seconds
    if clock:
        clock.reschedule(None)
    async with _places.setdefault(loop, asyncio.Semaphore(os.cpu_count() or 1)):
        if clock and seconds:
            clock.reschedule(loop.time() + seconds)
        yield


def _request(context: StepContext) -> bytes:
    assert isinstance(context.step, TaskStep)
    known = {f.name: getattr(context, f.name) for f in fields(context) if f.name not in _OURS}
    step = context.step.model_dump(mode="json", exclude_none=True, exclude={"timeout_seconds"})
    step["config"]["isolated"] = False
    request = {"memory_mb": settings.MGX_ISOLATED_MEMORY_MB, "context": known | {"step": step}}
    return json.dumps(request, default=str).encode() + b"\n"


async def _converse(process: Process, request: bytes) -> Outcome:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request)
        await process.stdin.drain()
        answer = await process.stdout.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        return Failed("process_died", "The process of the task wrote no answer that can be read")
    except (asyncio.IncompleteReadError, ConnectionError):
        return Failed("process_died", f"The process of the task {_end_of(await process.wait())}")
    try:
        if answer.startswith(b"+"):
            # Without its text, so that what comes from outside is checked like any output.
            return Completed(loads_strict(answer[1:], max_bytes=len(answer)))
        code, message, is_final = json.loads(answer[1:])
    except (CanonicalError, ValueError):
        return Failed("process_died", "The process of the task wrote no answer that can be read")
    return Failed(code, message, is_final=is_final)


async def _end(process: Process) -> None:
    """Kill the process and its children, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin:
        process.stdin.close()
    await process.wait()


def _end_of(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode} and no answer"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
