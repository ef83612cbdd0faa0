"""The tasks of the benchmarks."""

import asyncio
from typing import Any

from workflows.tasks import task


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
