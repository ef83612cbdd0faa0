"""Agents that are language models, behind any OpenAI-compatible API.

The model is told the agent's instructions and the step's inputs, may call the tools that its config
lists, and answers in words or, where there is an ``output_schema``, as that schema says.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import jsonschema_rs
from django.conf import settings
from django.utils.module_loading import import_string
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from agents.backends.calls import OutsideConfig, read_config, secret_for, sendable
from agents.backends.chat import ChatModel, Completion, Message, TokenCount
from agents.backends.tools import Toolbox
from agents.faults import AgentFault, InputFault
from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError
from workflows.handlers import StepContext
from workflows.http_task import Url
from workflows.tasks import find_task

#: An engine that takes linear time whatever the pattern.
_PATTERNS = jsonschema_rs.RegexOptions()
_MOST_PROBLEMS = 10


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is no JSON Schema of an object, or takes too long to be held to."""
    if problems := import_string(settings.FORM_CHECK)(schema):
        raise PydanticCustomError("invalid_schema", "{why}", {"why": problems[0].message})
    return schema


def _task(name: str) -> str:
    if find_task(name) is None:
        raise PydanticCustomError("unknown_task", "No task is registered as {name}", {"name": name})
    return name


class LlmConfig(OutsideConfig):
    """``base_url`` and ``model``: in the place of the settings'; ``key_env``: the environment
    variable with the key of that address; ``options``: what else each question says."""

    model: Annotated[str, Field(max_length=200)] = ""
    base_url: Url = ""
    key_env: Annotated[str, Field(max_length=200)] = ""
    instructions: Annotated[str, Field(max_length=100_000)] = ""
    output_schema: Annotated[dict[str, Any], AfterValidator(_form)] | None = None
    tools: Annotated[list[Annotated[str, AfterValidator(_task)]], Field(max_length=50)] = []
    options: dict[str, Any] = {}
    max_turns: Annotated[int, Field(ge=1, le=50)] = 10
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 120.0


class LlmBackend:
    """Asks the model, turn by turn, until it has answered."""

    async def run(self, config: dict[str, Any], context: StepContext) -> Any:
        known = read_config(LlmConfig, config)
        form = AnswerForm.of(known.output_schema)
        toolbox = Toolbox(known.tools, context)
        model = _model(known)
        asked = form.asked_for()
        if known.tools:
            asked["tools"] = toolbox.described()
        messages = _opening(known, context)
        used = TokenCount()
        for turn in range(1, known.max_turns + 1):
            completion = await model.answer(messages, **asked)
            used = _sum(used, completion.usage)
            message = _said(completion)
            messages.append(message.repeated())
            if message.tool_calls:
                for call in message.tool_calls:
                    messages.append(await toolbox.call(call))
                continue
            answer, problem = form.read(message.content or "")
            if not problem:
                usage = {
                    "model": model.name,
                    "calls": turn,
                    "input_tokens": used.prompt_tokens,
                    "output_tokens": used.completion_tokens,
                }
                return {"answer": answer, "usage": usage, "tools": toolbox.log}
            messages.append({"role": "user", "content": f"{problem} Answer again."})
        why = f"The model gave no answer that can be used in {known.max_turns} turns"
        raise AgentFault(why, "too_many_turns")


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What an answer has to be: any text, or what a JSON Schema says."""

    schema: dict[str, Any] | None
    validator: jsonschema_rs.Draft202012Validator | None

    @classmethod
    def of(cls, schema: dict[str, Any] | None) -> "AnswerForm":
        if schema is None:
            return cls(None, None)
        validator = jsonschema_rs.Draft202012Validator(
            schema, pattern_options=_PATTERNS, offline=True
        )
        return cls(schema, validator)

    def asked_for(self) -> dict[str, Any]:
        """Return how the API is told."""
        if self.schema is None:
            return {}
        described = {"name": "answer", "schema": self.schema}
        return {"response_format": {"type": "json_schema", "json_schema": described}}

    def read(self, text: str) -> tuple[Any, str]:
        """Return the answer in a text, and what is wrong with it, if anything is."""
        if self.validator is None:
            return text, "" if text.strip() else "That was empty."
        try:
            answer = loads_strict(text)
        except CanonicalError as error:
            return None, f"That was no JSON: {error.message}."
        found = [error.message for error in self.validator.iter_errors(answer)]
        if not found:
            return answer, ""
        return None, f"That is not what was asked for: {'; '.join(found[:_MOST_PROBLEMS])}."


def _model(config: LlmConfig) -> ChatModel:
    """Return the model that a config, or else the settings, name."""
    base_url = config.base_url or settings.LLM_BASE_URL
    name = config.model or settings.LLM_MODEL
    if not base_url or not name:
        message = "Neither the agent's config nor LLM_BASE_URL and LLM_MODEL name a model"
        raise AgentFault(message, "agent_config")
    key = ""
    if config.key_env:
        key = secret_for(config.key_env, base_url)
    elif base_url == settings.LLM_BASE_URL and settings.LLM_API_KEY:
        key = sendable("LLM_API_KEY", settings.LLM_API_KEY)  # which goes nowhere else
    return ChatModel(base_url, name, key, config.timeout_seconds, config.options)


def _opening(config: LlmConfig, context: StepContext) -> list[dict[str, Any]]:
    """Return how a conversation begins: of work that was sent back with what it was, and why."""
    messages = []
    if config.instructions:
        messages.append({"role": "system", "content": config.instructions})
    messages.append({"role": "user", "content": _text(context.inputs)})
    if context.feedback:
        match context.previous:
            case {"answer": before}:
                messages.append({"role": "assistant", "content": _text(before)})
        messages.append({"role": "user", "content": context.feedback})
    return messages


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _said(completion: Completion) -> Message:
    """Return what the model said, if it was neither cut off nor withheld."""
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise InputFault("The model refuses to answer this", "model_refused")
    if choice.finish_reason == "length":
        raise AgentFault("The model's answer is longer than it may be", "answer_cut_off")
    return choice.message


def _sum(before: TokenCount, more: TokenCount | None) -> TokenCount:
    if more is None:
        return before
    return TokenCount(
        prompt_tokens=before.prompt_tokens + more.prompt_tokens,
        completion_tokens=before.completion_tokens + more.completion_tokens,
    )
