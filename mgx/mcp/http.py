"""MCP over HTTP: each POST to ``/mcp`` one message, its answer JSON, and no session."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from mgx.mcp.protocol import (
    HANDSHAKE_VERSIONS,
    HEADER_MISMATCH,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    STATELESS_VERSIONS,
    RpcError,
    Server,
    is_request,
    read_message,
    spoken_version,
)
from mgx.mcp.rest import Refused
from mgx.middleware import Message, Receive, Scope, Send

PATH = "/mcp"
#: Room for what stands around a body that REST would take.
_MORE_BYTES = 65_536
_VERSIONS = frozenset((*HANDSHAKE_VERSIONS, *STATELESS_VERSIONS))


class _Answer(Exception):
    """What the client is told instead of an answer to its message."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.document = RpcError(INVALID_REQUEST, message).answer(None)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class HttpDoor:
    """The ASGI application."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._serve(scope, receive, send)
        except _Answer as answer:
            await _send(send, answer.status, answer.document, answer.headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        _admit(scope, headers)
        token = _token(headers)
        body = await _body(receive)
        await self._know(token)
        try:
            message = read_message(body, max_bytes=len(body))
            if is_request(message):
                _compare(message, headers)
        except RpcError as error:
            await _send(send, 400, error.answer(None))
            return
        if not is_request(message):
            await _send(send, 202, None)
            return
        answer = await _unless_gone(self._server.answer(message, token), receive)
        if answer is not None:
            await _send(send, _status(answer, message), answer)

    async def _know(self, token: str) -> None:
        """Refuse a token that is nobody's now, before anything is done with the message."""
        try:
            await self._server.api.for_token(token).get("me/")
        except Refused as refused:
            detail = str(refused.problem.get("detail", ""))
            if refused.status == 401:
                raise _unknown(detail) from None
            if refused.status >= 500 or refused.status == 429:
                headers = {"Retry_After": refused.retry_after} if refused.retry_after else {}
                raise _Answer(refused.status, detail, **headers) from None


def _admit(scope: Scope, headers: dict[str, str]) -> None:
    if scope["path"].rstrip("/") != PATH:
        raise _Answer(404, f"The address is {PATH}")
    if scope["method"] != "POST":
        raise _Answer(405, "Messages are posted; there is no stream to be read", Allow="POST")
    # A page of another site must not talk to this machine through its reader's browser.
    own = {settings.MGX_URL, *settings.CSRF_TRUSTED_ORIGINS}
    origin = headers.get("origin")
    if origin is not None and origin not in {_origin(url) for url in own}:
        raise _Answer(403, "Pages of this origin may not call")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Answer(415, "A message is application/json")
    version = headers.get("mcp-protocol-version")
    if version is not None and version not in _VERSIONS:
        known = ", ".join(sorted(_VERSIONS))
        raise _Answer(400, f"Unsupported protocol version; these are understood: {known}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _token(headers: dict[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unknown("Send a token of MGX: Authorization: Bearer mgx_…")
    return token.strip()


def _unknown(detail: str) -> _Answer:
    return _Answer(401, detail, WWW_Authenticate='Bearer realm="mgx"')


async def _body(receive: Receive) -> bytes:
    most = settings.MGX_MAX_BODY_BYTES + _MORE_BYTES
    body = bytearray()
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise _Answer(400, "The message was not sent to its end")
        body += message.get("body", b"")
        if len(body) > most:
            raise _Answer(413, f"At most {most} bytes are read", Connection="close")
        if not message.get("more_body"):
            return bytes(body)


def _compare(message: dict[str, Any], headers: dict[str, str]) -> None:
    """Refuse a message that is not what its headers say, by which others may have let it pass."""
    params = message.get("params")
    params = params if isinstance(params, dict) else {}
    if not (version := spoken_version(params)):
        return
    said = {"mcp-protocol-version": version, "mcp-method": message["method"]}
    if message["method"] == "tools/call":
        said["mcp-name"] = str(params.get("name"))
    for name, value in said.items():
        if headers.get(name) != value:
            raise RpcError(HEADER_MISMATCH, f"The header {name} is not what the message says")


async def _unless_gone(answering: Any, receive: Receive) -> dict[str, Any] | None:
    """Return the answer; None, and leave off, when the client has gone."""
    answer = asyncio.ensure_future(answering)
    gone = asyncio.create_task(_disconnection(receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _status(answer: dict[str, Any], message: dict[str, Any]) -> int:
    """Return the status of an answer: of clients without a handshake also errors have one."""
    code = answer.get("error", {}).get("code")
    if code is None or "_meta" not in (message.get("params") or {}):
        return 200
    return 404 if code == METHOD_NOT_FOUND else 400 if code != -32603 else 200


async def _send(
    send: Send, status: int, document: dict[str, Any] | None, headers: dict[str, str] | None = None
) -> None:
    body = b"" if document is None else json.dumps(document, ensure_ascii=False).encode()
    told = {"cache-control": "no-store", "content-length": str(len(body)), **(headers or {})}
    if document is not None:
        told["content-type"] = "application/json"
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
