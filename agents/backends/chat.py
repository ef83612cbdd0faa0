"""A chat model behind an OpenAI-compatible API: one question, one answer.

Written with httpx rather than with a client library: one request is made here, for which
pydantic-ai and openai would bring 40 MB of packages, and to each engine process that loads them
42 MB of memory and about two seconds in which its loop stands still.
"""

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from agents.backends.calls import post_json
from agents.faults import AgentFault
from workflows.core.canonical import MAX_BYTES, MAX_DEPTH, dumps_canonical

#: A conversation grows with each turn; this is where it ends.
_MOST_BYTES = 8 * MAX_BYTES
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

    async def answer(self, messages: list[dict[str, Any]], **asked: Any) -> Completion:
        """Return what the model says next. Raises AgentFault and InputFault."""
        question = self.options | asked | {"model": self.name, "messages": messages}
        answer = await post_json(
            f"{self.base_url.rstrip('/')}/chat/completions",
            dumps_canonical(
                question | {"stream": False}, max_bytes=_MOST_BYTES, max_depth=MAX_DEPTH + 8
            ).encode(),
            {"Authorization": f"Bearer {self.key}"} if self.key else {},
            timeout_seconds=self.timeout_seconds,
            hidden=self.key,
            also_its_own=_OF_THE_CONFIG,
        )
        try:
            return Completion.model_validate(answer)
        except ValidationError:
            message = "The model's answer is none of an OpenAI-compatible API"
            raise AgentFault(message, "unreadable_answer") from None
