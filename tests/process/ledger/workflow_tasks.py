"""Tasks that append a line to a file before they do anything else."""

import asyncio
import os
import time
from typing import Any

from django.conf import settings

from workflows.handlers import StepContext
from workflows.tasks import task


@task("ledger.note")
async def note(context: StepContext, seconds: float = 0) -> dict[str, Any]:
    """Write the line, then take ``seconds`` without holding anything."""
    write(context)
    await asyncio.sleep(seconds)
    return {"step": context.step.name, "attempt": context.attempt}


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


def write(context: StepContext) -> None:
    """Append execution, step, attempt, process and time, in one write."""
    fields = (context.execution_id, context.step.name, context.attempt, os.getpid(), time.time())
    line = " ".join(map(str, fields)) + "\n"
    descriptor = os.open(settings.MGX_VAR / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
