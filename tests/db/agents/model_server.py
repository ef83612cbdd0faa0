"""An OpenAI-compatible API on this machine, whose model always answers alike.

It reads the last JSON object that the user wrote: ``{"call": [name, arguments]}`` has it ask for a
tool, once; ``{"say": "…"}`` has it say that. Else it answers a schema with the least that fits, and
anything else with what it was told. ``faults`` come before all of that, one for each question.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_LEAST = {"string": "x", "integer": 1, "number": 1.5, "boolean": True, "array": [], "null": None}


class ModelServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: The bearer token that it takes; without one it takes all.
        self.key = ""
        #: A status, ``drop``, ``cut``, or a body to be sent as it is; None: no fault.
        self.faults: list[int | str | bytes | None] = []
        #: How it answers who wants a stream: ``full``, ``uncounted`` (no usage), ``whole``,
        #: ``refused`` or ``options_refused`` (by status 400), ``cut`` (in the middle), ``error``.
        self.streaming = "full"
        #: A stream stops in the middle until this is set.
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.questions: list[dict[str, Any]] = []
        self.keys: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.server.questions.append(question)
        self.server.keys.append(key)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if self.path != "/v1/chat/completions":
            self._refuse(404, "There is nothing here")
        elif self.server.key and key != self.server.key:
            self._refuse(401, f"Incorrect API key provided: {key}")
        elif fault == "drop":
            self.close_connection = True
        elif isinstance(fault, int):
            self._refuse(fault, f"Not now, {key}")
        elif isinstance(fault, bytes):
            self._send(200, fault)
        elif question.get("stream") and self.server.streaming == "refused":
            self._refuse(400, "Unknown parameter: stream")
        elif "stream_options" in question and self.server.streaming == "options_refused":
            self._refuse(400, "Unknown parameter: stream_options")
        else:
            answer = completion(question, is_cut=fault == "cut")
            if question.get("stream") and self.server.streaming != "whole":
                self._stream(answer)
            else:
                self._send(200, json.dumps(answer).encode())

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, json.dumps({"error": {"message": message, "type": "x"}}).encode())

    def _stream(self, answer: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        events = [*chunks(answer)]
        if self.server.streaming == "uncounted":
            events = [event for event in events if "usage" not in event]
        elif self.server.streaming == "cut":
            events = events[:2]
        elif self.server.streaming == "error":
            events[2:] = [{"error": {"message": "Overloaded", "code": 529}}]
        for number, event in enumerate(events):
            if number == len(events) // 2:
                self.server.goes_on.wait(20)
            self.wfile.write(f"data: {json.dumps(event)}\r\n\r\n".encode())
            self.wfile.flush()
        if self.server.streaming in ("full", "uncounted"):
            self.wfile.write(b": that was all\n\ndata: [DONE]\n\n")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def completion(question: dict[str, Any], *, is_cut: bool = False) -> dict[str, Any]:
    """Return what the model makes of a question: ten tokens for each message, five for itself."""
    messages = question["messages"]
    message = _message(question, messages)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": question["model"],
        "choices": [
            {"index": 0, "finish_reason": "length" if is_cut else "stop", "message": message}
        ],
        "usage": {"prompt_tokens": 10 * len(messages), "completion_tokens": 5, "total_tokens": 0},
    }


def chunks(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events as which an answer is streamed, a few characters each, the usage last."""
    [choice] = answer["choices"]
    message = choice["message"]
    yield _chunk({"role": "assistant", "content": ""})
    for name in ("content", "refusal"):
        text = message.get(name) or ""
        for start in range(0, len(text), 7):
            yield _chunk({name: text[start : start + 7]})
    for index, call in enumerate(message.get("tool_calls") or ()):
        arguments = call["function"]["arguments"]
        first = {"index": index, **call, "function": {**call["function"], "arguments": ""}}
        yield _chunk({"tool_calls": [first]})
        for start in range(0, len(arguments), 5):
            more = {"index": index, "function": {"arguments": arguments[start : start + 5]}}
            yield _chunk({"tool_calls": [more]})
    yield _chunk({}, choice["finish_reason"])
    yield {"object": "chat.completion.chunk", "choices": [], "usage": answer["usage"]}


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def _message(question: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    told = _orders(messages)
    has_called = any(message["role"] == "tool" for message in messages)
    if "call" in told and not has_called:
        calls = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for number, (name, arguments) in enumerate(told["call"])
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    if "refuse" in told:
        return {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    if "say" in told and messages[-1]["role"] == "user":
        # What it is told to say first, then what it says when it is asked again.
        times = sum(message["role"] == "assistant" for message in messages)
        return {"role": "assistant", "content": told["say"][min(times, len(told["say"]) - 1)]}
    if "response_format" in question:
        schema = question["response_format"]["json_schema"]["schema"]
        return {"role": "assistant", "content": json.dumps(_least(schema))}
    return {"role": "assistant", "content": f"Told: {messages[-1]['content']}"}


def _orders(messages: list[dict[str, Any]]) -> dict[str, Any]:
    for message in reversed(messages):
        if message["role"] == "user" and message["content"].startswith("{"):
            orders: dict[str, Any] = json.loads(message["content"])
            return orders
    return {}


def _least(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type", "object") == "object":
        names = schema.get("required", ())
        return {name: _least(schema["properties"][name]) for name in names}
    return _LEAST[schema["type"]]


@contextmanager
def serving() -> Iterator[ModelServer]:
    """Run a server."""
    server = ModelServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
