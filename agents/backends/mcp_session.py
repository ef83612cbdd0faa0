"""A conversation with an MCP server over HTTP, as its client: what it offers, and calls of that.

By hand, as ``chat.py`` is, and over the guarded client: httpx and sockets of its own are what the
``mcp`` package would bring into every engine process.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings

from agents.backends.calls import without
from workflows.core.canonical import MAX_DEPTH, dumps_canonical, loads_strict
from workflows.core.errors import CanonicalError
from workflows.net import ForbiddenAddress, UnknownHost, check_url, origin_of

_HANDSHAKE: Final = "2025-11-25"
_UNDERSTOOD: Final = frozenset({_HANDSHAKE, "2025-06-18", "2025-03-26", "2024-11-05"})
#: Spoken with servers that know no handshake any more.
_STATELESS: Final = "2026-07-28"
_META: Final = "io.modelcontextprotocol/"
_ABOUT: Final = {"name": "mgx", "version": "1"}
_MOST_PAGES: Final = 20
_MORE_DEPTH: Final = 6
_LONGEST_WORDS: Final = 1_000


class ToolServerFault(Exception):
    """The server did not answer as it should; the message tells nothing of its URL but the origin.

    ``code``: for programs. ``maybe_done``: what was asked may have been done all the same.
    """

    def __init__(self, message: str, code: str, *, maybe_done: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.maybe_done = maybe_done


class _RpcError(ToolServerFault):
    """The server's own refusal of a message."""


@dataclass(slots=True)
class _Reply:
    """An answer: its status, its headers by their lower names, and the JSON-RPC message in it."""

    status: int
    headers: Mapping[str, str]
    message: dict[str, Any] | None


@dataclass(slots=True)
class McpSession:
    """Talks to the server at ``url``; ``secret``: its bearer token, or "".

    A request takes ``timeout_seconds`` at most. It begins with a handshake at the first request,
    and keeps nothing open between two of them.
    """

    url: str
    secret: str = field(repr=False)
    timeout_seconds: float
    _version: str = ""
    _session_id: str = ""
    _last_id: int = 0

    async def list_tools(self) -> list[dict[str, Any]]:
        """Return the tools as the server describes them. Raises ToolServerFault."""
        found: list[dict[str, Any]] = []
        cursor: Any = None
        for _ in range(_MOST_PAGES):
            page = await self._request("tools/list", {"cursor": cursor} if cursor else {})
            tools = page.get("tools")
            if not isinstance(tools, list):
                raise self._nonsense()
            found += [tool for tool in tools if isinstance(tool, dict)]
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str) or not cursor:
                return found
        raise ToolServerFault(f"{self._origin} has no end of tools", "too_many_tools")

    async def call_tool(
        self, name: str, arguments: dict[str, Any], *, idempotency_key: str
    ) -> dict[str, Any]:
        """Return the result of a call, as the protocol has it. Raises ToolServerFault."""
        meta = {"_meta": {"mgx/idempotency-key": idempotency_key}}
        asked = {"name": name, "arguments": arguments, **meta}
        return await self._request("tools/call", asked, {"Idempotency-Key": idempotency_key})

    @property
    def _origin(self) -> str:
        return origin_of(self.url)

    async def _request(
        self, method: str, params: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        is_sent = False
        try:
            async with asyncio.timeout(self.timeout_seconds):
                if not self._version:
                    await self._shake_hands()
                is_sent = True
                reply = await self._post(self._message(method, params), headers or {})
                if reply.status == HTTPStatus.NOT_FOUND and self._session_id:
                    # The server has forgotten the session, and done nothing.
                    await self._shake_hands()
                    reply = await self._post(self._message(method, params), headers or {})
                return self._result(reply)
        except TimeoutError:
            message = f"{self._origin} did not answer within {self.timeout_seconds:g} seconds"
            raise ToolServerFault(message, "tool_timeout", maybe_done=is_sent) from None
        except (ForbiddenAddress, UnknownHost) as error:
            raise ToolServerFault(str(error), error.code) from None
        except ToolServerFault as fault:
            fault.maybe_done &= is_sent
            raise

    async def _shake_hands(self) -> None:
        self._version = self._session_id = ""
        asked = {"protocolVersion": _HANDSHAKE, "capabilities": {}, "clientInfo": _ABOUT}
        reply = await self._post(self._message("initialize", asked), {})
        try:
            result = self._result(reply)
        except _RpcError:
            self._version = _STATELESS
            return
        version = result.get("protocolVersion")
        if version not in _UNDERSTOOD:
            message = f"{self._origin} speaks another version of MCP: {str(version)[:40]}"
            raise ToolServerFault(message, "tool_protocol")
        self._version = version
        self._session_id = reply.headers.get("mcp-session-id", "")
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {})

    def _message(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        if self._version == _STATELESS:
            said = {"protocolVersion": _STATELESS, "clientCapabilities": {}, "clientInfo": _ABOUT}
            meta = {f"{_META}{name}": value for name, value in said.items()}
            params = {**params, "_meta": {**params.get("_meta", {}), **meta}}
        return {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}

    def _headers(self, message: dict[str, Any]) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        if self._version:
            headers["MCP-Protocol-Version"] = self._version
        if self._session_id:
            headers["Mcp-Session-Id"] = self._session_id
        if self._version == _STATELESS:
            headers["Mcp-Method"] = message["method"]
            if message["method"] == "tools/call":
                headers["Mcp-Name"] = message["params"]["name"]
        return headers

    async def _post(self, message: dict[str, Any], more: Mapping[str, str]) -> _Reply:
        """Send a message, and return the reply to it."""
        import httpx  # most processes never ask a tool server

        from workflows.transport import guarded_client

        body = dumps_canonical(message, max_depth=MAX_DEPTH + _MORE_DEPTH).encode()
        headers = {**self._headers(message), **more}
        try:
            async with (
                guarded_client(self.timeout_seconds) as client,
                client.stream("POST", check_url(self.url), headers=headers, content=body) as got,
            ):
                names = {name.lower(): value for name, value in got.headers.items()}
                answer = None
                if "id" in message:
                    answer = await self._read(got.aiter_raw(), names, message["id"])
                return _Reply(got.status_code, names, answer)
        except httpx.TimeoutException:
            raise TimeoutError from None
        except httpx.ConnectError:
            error = f"{self._origin} cannot be reached"
            raise ToolServerFault(error, "tool_unreachable") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not its text: that may hold the address, with what is secret in it.
            words = f"The call to {self._origin} broke off: {type(error).__name__}"
            raise ToolServerFault(words, "tool_unreachable", maybe_done=True) from None

    async def _read(
        self, chunks: AsyncIterator[bytes], headers: Mapping[str, str], id: int
    ) -> dict[str, Any] | None:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            async for data in _events(self._bounded(chunks)):
                message = self._parse(data)
                if message is not None and message.get("id") == id and "method" not in message:
                    return message
            return None
        payload = b"".join([chunk async for chunk in self._bounded(chunks)])
        return self._parse(payload) if kind == "application/json" else None

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > settings.MGX_MAX_OUTPUT_BYTES:
                most = settings.MGX_MAX_OUTPUT_BYTES
                message = f"{self._origin} answered more than {most} bytes"
                raise ToolServerFault(message, "tool_answer_too_large", maybe_done=True)
            yield chunk

    def _parse(self, text: bytes) -> dict[str, Any] | None:
        depth = MAX_DEPTH + _MORE_DEPTH
        try:
            message = loads_strict(text, max_bytes=settings.MGX_MAX_OUTPUT_BYTES, max_depth=depth)
        except CanonicalError:
            return None
        return without(self.secret, message) if isinstance(message, dict) else None

    def _result(self, reply: _Reply) -> dict[str, Any]:
        """Return the result in a reply. Raises ToolServerFault."""
        match reply.message:
            case {"error": {"message": str(words), "code": int()}}:
                said = words[:_LONGEST_WORDS]
                raise _RpcError(f"{self._origin} refused: {said}", "tool_refused")
            case {"result": dict(result)} if reply.status == HTTPStatus.OK:
                return result
        if reply.status != HTTPStatus.OK:
            message = f"{self._origin} answered {reply.status}"
            is_old = reply.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
            kind = ToolServerFault if self._version or not is_old else _RpcError
            raise kind(message, f"http_{reply.status}", maybe_done=reply.status >= 500)
        raise self._nonsense()

    def _nonsense(self) -> ToolServerFault:
        message = f"The answer of {self._origin} is none of MCP"
        return ToolServerFault(message, "tool_unreadable", maybe_done=True)


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each event of a stream (``text/event-stream``)."""
    rest = b""
    data: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (each.removesuffix(b"\r") for each in lines):
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
