"""Tasks that append a line to a file before they do anything else."""

import asyncio
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from workflows.handlers import StepContext
from workflows.tasks import task

_MEGABYTE = 1024 * 1024


@task("ledger.note")
async def note(context: StepContext, seconds: float = 0) -> dict[str, Any]:
    """Write the line, then take ``seconds`` without holding anything."""
    write(context)
    await asyncio.sleep(seconds)
    return {"step": context.step.name, "attempt": context.attempt}


@task("ledger.take_place")
async def take_place(context: StepContext, seconds: float = 0) -> dict[str, Any]:
    """Write a line when an agent begins and, into ``places``, one when it is done."""
    write(context)
    await asyncio.sleep(seconds)
    write(context, "places")
    return {"attempt": context.attempt, "pid": os.getpid()}


@task("ledger.note_sync")
def note_sync(context: StepContext, seconds: float = 0) -> dict[str, Any]:
    """Write the line, then block a thread for ``seconds``."""
    write(context)
    time.sleep(seconds)
    return {"step": context.step.name, "attempt": context.attempt}


@task("ledger.die")
def die(context: StepContext) -> None:
    """Write the line, then end the process as a crash does."""
    write(context)
    os._exit(1)


@task("ledger.crash")
def crash(context: StepContext) -> None:
    """Write the line, then end the process as a broken extension module does."""
    write(context)
    os.kill(os.getpid(), signal.SIGSEGV)


@task("ledger.hold")
async def hold(context: StepContext) -> None:
    """Write the line, then hold the loop, with all that runs on it."""
    write(context)
    time.sleep(600)


@task("ledger.hog")
def hog(context: StepContext) -> None:
    """Write the line, then take memory until there is no more; this process may have 256 MB."""
    write(context)
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 256 * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    taken = []
    try:
        while True:
            taken.append(bytearray(32 * _MEGABYTE))
    finally:
        taken.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def write(context: StepContext, name: str = "ledger") -> None:
    """Append execution, step, attempt, process and time to a file, in one write."""
    fields = (context.execution_id, context.step.name, context.attempt, os.getpid(), time.time())
    line = " ".join(map(str, fields)) + "\n"
    descriptor = os.open(settings.MGX_VAR / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
