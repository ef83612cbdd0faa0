"""MCP over standard input and output: a message a line, each answered when its answer is there."""

import asyncio
import json
import os
import sys
import threading
from typing import Any, BinaryIO

from mgx.mcp.protocol import INVALID_REQUEST, RpcError, Server, is_request, read_message

_MOST_AT_ONCE = 64
#: Seconds that what was asked gets to be answered once nothing more is asked.
_GRACE_SECONDS = 5.0


def claim_output() -> BinaryIO:
    """Return standard output, and let all that prints write to standard error from now on."""
    sys.stdout.flush()
    wire = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return wire


async def serve(
    server: Server, token: str, incoming: BinaryIO, outgoing: BinaryIO, *, max_bytes: int
) -> None:
    """Answer until ``incoming`` ends."""
    await _Conversation(server, token, outgoing, max_bytes).run(incoming)


class _Conversation:
    def __init__(self, server: Server, token: str, outgoing: BinaryIO, max_bytes: int) -> None:
        self._server = server
        self._token = token
        self._outgoing = outgoing
        self._max_bytes = max_bytes
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._answering: dict[str | int, asyncio.Task[None]] = {}

    async def run(self, incoming: BinaryIO) -> None:
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def read() -> None:
            while line := incoming.readline(self._max_bytes + 2):
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

        # A daemon: nothing ends a read of a pipe on which nothing comes.
        threading.Thread(target=read, name="mgx-mcp-stdin", daemon=True).start()
        is_rest = False
        while (line := await lines.get()) is not None:
            is_cut = not line.endswith(b"\n") and len(line) > self._max_bytes
            if is_cut and not is_rest:
                error = RpcError(INVALID_REQUEST, f"At most {self._max_bytes} bytes are read")
                self._write(error.answer(None))
            elif not is_rest and line.strip():
                self._take(line)
            is_rest = is_cut
        if waiting := set(self._answering.values()):
            _, late = await asyncio.wait(waiting, timeout=_GRACE_SECONDS)
            for task in late:
                task.cancel()

    def _take(self, line: bytes) -> None:
        try:
            message = read_message(line, max_bytes=self._max_bytes + 1)
        except RpcError as error:
            self._write(error.answer(None))
            return
        if not is_request(message):
            self._note(message)
            return
        id = message["id"]
        if id in self._answering:
            self._write(RpcError(INVALID_REQUEST, "This id is in use").answer(id))
            return
        task = asyncio.create_task(self._answer(message))
        self._answering[id] = task
        task.add_done_callback(lambda _: self._answering.pop(id, None))

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params")
        if message.get("method") == "notifications/cancelled" and isinstance(params, dict):
            id = params.get("requestId")
            if isinstance(id, str | int) and (task := self._answering.get(id)):
                task.cancel()

    async def _answer(self, message: dict[str, Any]) -> None:
        async with self._places:
            self._write(await self._server.answer(message, self._token))

    def _write(self, answer: dict[str, Any]) -> None:
        self._outgoing.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
        self._outgoing.flush()
