"""An MCP server on this machine that behaves as it is told, also badly."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ECHO = {
    "name": "echo",
    "description": "Says it again.",
    "inputSchema": {"type": "object", "properties": {"words": {"type": "string"}}},
}


class ToolHost(ThreadingHTTPServer):
    """``tools``: what it offers. ``result``: what calls come to. ``faults``: by method, what it
    does instead of answering: a status, bytes, ``hang`` or a JSON-RPC error. ``secret``: the bearer
    token that it takes. ``knows``: the version that it speaks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tools: list[Any] = [ECHO]
        self.result: dict[str, Any] = {"content": [{"type": "text", "text": "done"}]}
        self.faults: dict[str, Any] = {}
        self.secret = ""
        self.knows = "2025-11-25"
        self.streams = False
        self.session = ""
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.let_go = threading.Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/mcp?key=canary-url"

    def methods(self) -> list[str]:
        return [message["method"] for _, message in self.asked]

    def headers_of(self, method: str) -> dict[str, str]:
        """Return the headers of the last message with a method."""
        return [headers for headers, message in self.asked if message["method"] == method][-1]


class _Handler(BaseHTTPRequestHandler):
    server: ToolHost

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((headers, message))
        if self.server.secret and headers.get("authorization") != f"Bearer {self.server.secret}":
            self._send(401, b"{}")
            return
        fault = self.server.faults.get(message["method"])
        if fault == "hang":
            self.server.let_go.wait(30)
            self.close_connection = True
        elif isinstance(fault, int):
            self._send(fault, json.dumps({"told": headers.get("authorization")}).encode())
        elif isinstance(fault, bytes):
            self._send(200, fault)
        elif "id" not in message:
            self._send(202, b"")
        elif isinstance(fault, dict):
            self._answer({"jsonrpc": "2.0", "id": message["id"], "error": fault})
        elif self.server.session and message["method"] != "initialize":
            is_known = headers.get("mcp-session-id") == self.server.session
            self._reply(message) if is_known else self._send(404, b"{}")
        else:
            self._reply(message)

    def _reply(self, message: dict[str, Any]) -> None:
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": self.server.knows,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "fake", "version": "1"},
            },
            "tools/list": {"tools": self.server.tools},
            "tools/call": self.server.result,
        }
        self._answer({"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]})

    def _answer(self, document: dict[str, Any]) -> None:
        text = json.dumps(document).encode()
        if self.server.streams:
            note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
            text = b": hello\n\nevent: message\ndata: " + note + b"\n\ndata: " + text + b"\r\n\r\n"
        self._send(200, text)

    def _send(self, status: int, body: bytes) -> None:
        kind = "text/event-stream" if self.server.streams else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.server.session:
            self.send_header("Mcp-Session-Id", self.server.session)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hosting() -> Iterator[ToolHost]:
    """Run a server."""
    server = ToolHost()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()
