"""A chat model behind an OpenAI-compatible API: one question, one answer.

Written with httpx rather than with a client library: one request is made here, for which
pydantic-ai and openai would bring 40 MB of packages, and to each engine process that loads them
42 MB of memory and about two seconds in which its loop stands still.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from agents.backends.calls import post_json, without
from agents.backends.streaming import ChatStream, Listener
from agents.faults import AgentFault, InputFault
from workflows.core.canonical import MAX_BYTES, MAX_DEPTH, dumps_canonical

#: A conversation grows with each turn; this is where it ends.
_MOST_BYTES = 8 * MAX_BYTES
#: Streams that one process reads at once: each word of one takes it more time than a whole answer.
_MOST_STREAMS = 50
_MOST_AVOIDED = 1_000
#: How an API refuses what it does not know of a question.
_REFUSALS = frozenset({"http_400", "http_422"})
#: Wrong keys, models and addresses, which no input is the reason of.
_OF_THE_CONFIG = frozenset({403, 404, 405})


class Function(BaseModel):
    name: str
    arguments: str = ""


class ToolCall(BaseModel):
    """A tool that the model asks for; ``arguments`` is JSON, or should be."""

    id: str = ""
    type: str = "function"
    function: Function


class Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None

    def repeated(self) -> dict[str, Any]:
        """Return it as the next question holds it."""
        said: dict[str, Any] = {"role": "assistant", "content": self.content or ""}
        if self.tool_calls:
            said["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        return said


class Choice(BaseModel):
    message: Message
    finish_reason: str | None = None


class TokenCount(BaseModel):
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)


class Completion(BaseModel):
    """An answer as the API gives it, as far as it matters here."""

    choices: list[Choice] = Field(min_length=1)
    usage: TokenCount | None = None


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model at an address. ``options`` go with each question as they are."""

    base_url: str
    name: str
    key: str = field(repr=False)
    timeout_seconds: float
    options: dict[str, Any]

    async def answer(
        self, messages: list[dict[str, Any]], listener: Listener | None = None, **asked: Any
    ) -> Completion:
        """Return what the model says next. Raises AgentFault and InputFault.

        ``listener`` is told of it as it comes, unless the API cannot do that or too many listen.
        """
        question = self.options | asked | {"model": self.name, "messages": messages}
        question.pop("stream_options", None)
        if listener is None or not _streams.have_room(self.base_url):
            return _read(await self._ask(question | {"stream": False}))
        with _streams.one():
            try:
                completion = _read(
                    await self._ask(
                        question | {"stream": True, "stream_options": {"include_usage": True}},
                        ChatStream(lambda length, tail: listener(length, without(self.key, tail))),
                    )
                )
            except InputFault as error:
                if error.code not in _REFUSALS:
                    raise
            else:
                if completion.usage is None:
                    # Whoever does not count a stream counts a whole answer.
                    _streams.avoid(self.base_url)
                return completion
        # Perhaps it was the stream that was refused; if not, the refusal comes again.
        completion = _read(await self._ask(question | {"stream": False}))
        _streams.avoid(self.base_url)
        return completion

    async def _ask(self, question: dict[str, Any], reader: ChatStream | None = None) -> Any:
        return await post_json(
            f"{self.base_url.rstrip('/')}/chat/completions",
            dumps_canonical(question, max_bytes=_MOST_BYTES, max_depth=MAX_DEPTH + 8).encode(),
            {"Authorization": f"Bearer {self.key}"} if self.key else {},
            timeout_seconds=self.timeout_seconds,
            hidden=self.key,
            also_its_own=_OF_THE_CONFIG,
            reader=reader,
        )


class _Streams:
    """How many answers are read as they come, and which addresses are not asked for that."""

    def __init__(self) -> None:
        self._count = 0
        self._avoided: dict[str, None] = {}

    def have_room(self, base_url: str) -> bool:
        return self._count < _MOST_STREAMS and base_url not in self._avoided

    @contextmanager
    def one(self) -> Iterator[None]:
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def avoid(self, base_url: str) -> None:
        self._avoided[base_url] = None
        if len(self._avoided) > _MOST_AVOIDED:
            del self._avoided[next(iter(self._avoided))]


_streams = _Streams()


def _read(answer: Any) -> Completion:
    try:
        return Completion.model_validate(answer)
    except ValidationError:
        message = "The model's answer is none of an OpenAI-compatible API"
        raise AgentFault(message, "unreadable_answer") from None
