"""The protocol itself: JSON-RPC messages in, answers out, whatever carries them.

Two kinds of client are understood: those that begin with a handshake (``initialize``, up to
2025-11-25) and those that say with each request which version they speak (from 2026-07-28 on). No
state is kept for either.
"""

import json
import logging
from typing import Any, Final

from mgx.mcp import approvals, runs
from mgx.mcp.rest import Api, Refused
from mgx.mcp.tools import Tool, call
from workflows.core.canonical import MAX_DEPTH, loads_strict
from workflows.core.errors import CanonicalError

logger = logging.getLogger("mgx.mcp")

HANDSHAKE_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
STATELESS_VERSIONS: Final = ("2026-07-28",)
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
_SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022

TOOLS: Final[dict[str, type[Tool]]] = {tool.name_: tool for tool in (*approvals.TOOLS, *runs.TOOLS)}
_ABOUT: Final = {"name": "mgx", "title": "MGX", "version": "1"}
_CAPABILITIES: Final[dict[str, Any]] = {"tools": {}}
_INSTRUCTIONS: Final = (
    "MGX runs workflows in which people approve what is about to be done. Before you do what people"
    " have to agree to, call request_approval with exactly what you will do as payload, then"
    " wait_for_decision until it is no longer pending. Do it only if the status is approved, and"
    " then as the returned payload says. You cannot decide requests yourself."
)
#: Milliseconds for which clients may keep the list of tools.
_TTL_MS: Final = 300_000


class RpcError(Exception):
    """An error of the protocol, rather than of what a tool was to do."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    def answer(self, id: Any) -> dict[str, Any]:
        """Return the message that tells of it."""
        error = {"code": self.code, "message": str(self)}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": id, "error": error}


class Server:
    """Answers messages with what the API says."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def answer(self, message: dict[str, Any], token: str) -> dict[str, Any]:
        """Return the answer to a request. ``token``: the caller's."""
        id = message["id"]
        try:
            method, params = message["method"], message.get("params") or {}
            if not isinstance(params, dict):
                raise RpcError(INVALID_PARAMS, "params is to be an object")
            version = spoken_version(params)
            result = await self._result(method, params, token, is_stateless=version is not None)
            if version is not None:
                result |= {"resultType": "complete", "_meta": {_SERVER_KEY: _ABOUT}}
            return {"jsonrpc": "2.0", "id": id, "result": result}
        except RpcError as error:
            return error.answer(id)
        except Exception:
            logger.exception("A message could not be answered")
            return RpcError(INTERNAL_ERROR, "Something went wrong here.").answer(id)

    async def _result(
        self, method: str, params: dict[str, Any], token: str, *, is_stateless: bool
    ) -> dict[str, Any]:
        cached = {"ttlMs": _TTL_MS, "cacheScope": "public"} if is_stateless else {}
        match method:
            case "initialize" if not is_stateless:
                asked = params.get("protocolVersion")
                version = asked if asked in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[0]
                about = {"protocolVersion": version, "serverInfo": _ABOUT}
                return {**about, "capabilities": _CAPABILITIES, "instructions": _INSTRUCTIONS}
            case "server/discover" if is_stateless:
                about = {"capabilities": _CAPABILITIES, "instructions": _INSTRUCTIONS}
                return {"supportedVersions": list(STATELESS_VERSIONS), **about, **cached}
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [tool.described() for tool in TOOLS.values()], **cached}
            case "tools/call":
                return await self._call(params, token)
        raise RpcError(METHOD_NOT_FOUND, f"There is no method {method[:100]} here")

    async def _call(self, params: dict[str, Any], token: str) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments") or {}
        tool = TOOLS.get(name) if isinstance(name, str) else None
        if tool is None:
            logger.warning("A client asked for the tool %r, which there is not", str(name)[:100])
            raise RpcError(INVALID_PARAMS, f"There is no tool {str(name)[:100]!r} here")
        if not isinstance(arguments, dict):
            raise RpcError(INVALID_PARAMS, "arguments is to be an object")
        try:
            result = await call(tool, arguments, self.api.for_token(token))
        except Refused as refused:
            return _told(_words(refused), refused.problem) | {"isError": True}
        return _told(json.dumps(result, ensure_ascii=False), result) | {"isError": False}


def read_message(text: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Return the request, or notification, in a text. Raises RpcError."""
    try:
        message = loads_strict(text, max_bytes=max_bytes, max_depth=MAX_DEPTH + 4)
    except CanonicalError as error:
        raise RpcError(PARSE_ERROR, f"This cannot be read: {error.message}") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "This is no single message of JSON-RPC 2.0")
    has_id = isinstance(message.get("id", ""), str | int)
    if not has_id or not isinstance(message.get("method", ""), str):
        raise RpcError(INVALID_REQUEST, "This is no message of JSON-RPC 2.0")
    return message


def is_request(message: dict[str, Any]) -> bool:
    """Tell whether a message wants an answer; notifications, and answers, do not."""
    return "id" in message and "method" in message


def spoken_version(params: dict[str, Any]) -> str | None:
    """Return the version that a request itself names; None after a handshake. Raises RpcError."""
    meta = params.get("_meta")
    version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    if version is None or version in STATELESS_VERSIONS:
        return version
    data = {"supported": list(STATELESS_VERSIONS), "requested": str(version)[:100]}
    raise RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def _told(text: str, document: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "structuredContent": document}


def _words(refused: Refused) -> str:
    problem = refused.problem
    lines = [f"{problem.get('code', 'error')}: {problem.get('detail', '')}"]
    lines += [f"{each['pointer']}: {each['message']}" for each in problem.get("errors", ())]
    if refused.retry_after:
        lines.append(f"Try again in {refused.retry_after} seconds.")
    return "\n".join(lines)
