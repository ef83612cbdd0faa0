"""The tasks of the benchmarks."""

import asyncio
import os
from typing import Any

from django.conf import settings

from workflows.handlers import StepContext
from workflows.tasks import task

#: Where ``bench.note`` writes down what ran, in ``MGX_VAR``.
LEDGER = "ledger"


@task("bench.call")
async def call(port: int) -> dict[str, Any]:
    """Make one HTTP request to the server of ``concurrency`` and return its answer's length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError("The server did not answer")
    return {"bytes": len(answer)}


@task("bench.note")
async def note(value: Any, context: StepContext) -> dict[str, Any]:
    """Write into the ledger that a step ran, after 50 ms, and pass the value on."""
    await asyncio.sleep(0.05)
    ledger = os.open(settings.MGX_VAR / LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, f"{context.step_execution_id}\n".encode())
    finally:
        os.close(ledger)
    return {"value": value}
