"""What a model was told and has said in one step, which may stop for people and go on later."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from agents.backends.chat import Message, TokenCount, ToolCall
from agents.models import MessageRole
from agents.work import Said, Work

_LONGEST_WORDS = 4_000


@dataclass(slots=True)
class Conversation:
    """The messages as the API takes them, and what they have come to.

    ``turns``: how often the model was asked, ``used`` the tokens of all that. ``log`` says, for
    people, what was called and refused. ``asks_about``: the tool of the first call without a
    result, if people are asked about it, and ``answer`` what they said. ``work`` is that of the
    attempt, which is told what is new.
    """

    work: Work
    messages: list[dict[str, Any]] = field(default_factory=list)
    turns: int = 0
    used: TokenCount = field(
        default_factory=lambda: TokenCount(prompt_tokens=0, completion_tokens=0)
    )
    log: list[dict[str, Any]] = field(default_factory=list)
    asks_about: str = ""
    answer: dict[str, Any] | None = None
    _made: Counter[str] = field(default_factory=Counter)

    def memo(self) -> dict[str, Any]:
        """Return what is needed to go on with it in another attempt, as JSON."""
        return {
            "messages": list(self.messages),
            "turns": self.turns,
            "input_tokens": self.used.prompt_tokens,
            "output_tokens": self.used.completion_tokens,
            "log": list(self.log),
            "asks_about": self.asks_about,
            "made": dict(self._made),
        }

    @classmethod
    def taken_up(cls, memo: dict[str, Any], work: Work) -> Self:
        """Return the conversation that a memo stands for."""
        used = TokenCount(
            prompt_tokens=memo["input_tokens"], completion_tokens=memo["output_tokens"]
        )
        return cls(
            work,
            memo["messages"],
            memo["turns"],
            used,
            memo["log"],
            memo["asks_about"],
            memo.get("answer"),
            Counter(memo["made"]),
        )

    def tell(self, role: MessageRole, content: str, data: dict[str, Any] | None = None) -> None:
        """Add what the model is told; ``data``: what people are told of it besides."""
        self.messages.append({"role": role.value, "content": content})
        self.work.said.append(Said(role, content, data or {}))

    def add_answer(self, message: Message, usage: TokenCount | None) -> None:
        """Add what the model has said."""
        self.turns += 1
        if usage:
            self.used = TokenCount(
                prompt_tokens=self.used.prompt_tokens + usage.prompt_tokens,
                completion_tokens=self.used.completion_tokens + usage.completion_tokens,
            )
            self.work.input_tokens += usage.prompt_tokens
            self.work.output_tokens += usage.completion_tokens
        self.messages.append(message.repeated())
        calls = [
            {"tool": call.function.name, "arguments": call.function.arguments}
            for call in message.tool_calls or ()
        ]
        data = {"calls": calls} if calls else {}
        self.work.said.append(Said(MessageRole.ASSISTANT, message.content or "", data))

    def open_calls(self) -> list[ToolCall]:
        """Return the calls of the last answer that have no result yet."""
        for answered, message in enumerate(reversed(self.messages)):
            if message["role"] != MessageRole.TOOL:
                calls = message.get("tool_calls") or []
                return [ToolCall.model_validate(call) for call in calls[answered:]]
        return []

    def add_result(
        self, call: ToolCall, name: str, outcome: str, text: str, *, decided_by: str = ""
    ) -> None:
        """Add the result of a call, and that to the log."""
        self.messages.append(
            {"role": MessageRole.TOOL.value, "tool_call_id": call.id, "content": text}
        )
        entry = {"tool": name, "outcome": outcome}
        if decided_by:
            entry["decided_by"] = decided_by
        self.log.append(entry)
        self.work.said.append(Said(MessageRole.TOOL, text, entry))

    def last_words(self) -> str:
        """Return what the model said besides its last calls."""
        said = (m.get("content") for m in reversed(self.messages) if m["role"] == "assistant")
        return str(next(said, "") or "")[:_LONGEST_WORDS]

    def numbered(self, call: str) -> str:
        """Return a call with how often it was made, which is the same at each attempt."""
        self._made[call] += 1
        return f"{call} {self._made[call]}"
