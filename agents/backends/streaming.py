"""A chat model's answer as it comes: server-sent events, put together as if it had come whole.

Somebody may be told meanwhile how long it is and how it ends so far, a few times a second.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from pydantic import BaseModel, Field, ValidationError

from agents.faults import AgentFault

_WHOLE_WORDS = re.compile(r"\s(.*)\s", re.DOTALL)
#: How often somebody is told, in seconds.
_TELL_SECONDS = 0.5
_TAIL = 400
_LONGEST_WORDS = 500

#: Told how many characters there are, and with which words they end; the last one is whole.
Listener = Callable[[int, str], None]


class _Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class _Call(BaseModel):
    index: int | None = None
    id: str | None = None
    function: _Function = _Function()


class _Delta(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    error: Any = Field(default=None)


@dataclass(slots=True)
class ChatStream:
    """Puts an answer together. Raises AgentFault where it cannot, or is longer than an output may
    be."""

    listener: Listener
    _rest: bytearray = field(default_factory=bytearray)
    _data: list[bytes] = field(default_factory=list)
    _content: list[str] = field(default_factory=list)
    _refusal: list[str] = field(default_factory=list)
    _calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    _finish_reason: str | None = None
    _usage: dict[str, Any] | None = None
    _is_done: bool = False
    _length: int = 0
    _tail: str = ""
    _told_at: float = 0.0

    def takes(self, content_type: str) -> bool:
        """Tell whether an answer of this type is a stream; any other one has come whole."""
        return content_type.partition(";")[0].strip().lower() == "text/event-stream"

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the answer, wherever it was cut."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._rest += line
            self._take_line(bytes(self._rest))
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > settings.MGX_MAX_OUTPUT_BYTES:
            raise _unreadable("it is longer than it may be")

    def result(self) -> dict[str, Any]:
        """Return the answer as it would have come whole."""
        self._take_line(bytes(self._rest))
        self._take_line(b"")
        if not (self._is_done or self._finish_reason):
            raise AgentFault("The model's answer ended in the middle", "agent_unreachable")
        message: dict[str, Any] = {
            "content": "".join(self._content) if self._content else None,
            "refusal": "".join(self._refusal) or None,
        }
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        choice = {"message": message, "finish_reason": self._finish_reason}
        return {"choices": [choice], "usage": self._usage}

    def _take_line(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        if line.startswith(b"data:"):
            self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line and self._data:
            event, self._data = b"\n".join(self._data), []
            self._take_event(event)

    def _take_event(self, event: bytes) -> None:
        if event.strip() == b"[DONE]":
            self._is_done = True
            return
        try:
            chunk = _Chunk.model_validate_json(event)
        except ValidationError:
            raise _unreadable("it is none of an OpenAI-compatible API") from None
        if chunk.error is not None:
            message = f"The model broke off: {str(_words_of(chunk.error))[:_LONGEST_WORDS]}"
            raise AgentFault(message, "agent_unreachable")
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
            self._take_delta(choice.delta)

    def _take_delta(self, delta: _Delta) -> None:
        self._add(self._content, delta.content)
        self._add(self._refusal, delta.refusal)
        for call in delta.tool_calls or ():
            self._take_call(call)
        if delta.content:
            self._tail = (self._tail + delta.content)[-_TAIL:]
            self._tell()

    def _take_call(self, call: _Call) -> None:
        last = max(self._calls, default=-1)
        # Some servers number no calls: what has a name begins one.
        index = call.index if call.index is not None else last + bool(call.function.name)
        known = self._calls.setdefault(
            index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        known["id"] = known["id"] or call.id or ""
        known["function"]["name"] = known["function"]["name"] or call.function.name or ""
        if arguments := call.function.arguments:
            self._count(arguments)
            known["function"]["arguments"] += arguments

    def _add(self, parts: list[str], more: str | None) -> None:
        if more is not None:
            self._count(more)
            parts.append(more)

    def _count(self, text: str) -> None:
        self._length += len(text)
        if self._length > settings.MGX_MAX_OUTPUT_BYTES:
            raise _unreadable("it is longer than it may be")

    def _tell(self) -> None:
        now = time.monotonic()
        if now >= self._told_at + _TELL_SECONDS:
            self._told_at = now
            # Of a word that is not all there a part may be a part of a secret, not known for one.
            words = _WHOLE_WORDS.search(self._tail if self._length > _TAIL else f" {self._tail}")
            self.listener(self._length, words[1].strip() if words else "")


def _words_of(error: Any) -> Any:
    return error.get("message", "") if isinstance(error, dict) else error


def _unreadable(why: str) -> AgentFault:
    return AgentFault(f"The model's answer cannot be read: {why}", "unreadable_answer")
