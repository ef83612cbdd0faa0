"""Agents that are language models: what they are asked, may call, and may answer."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest

from agents.backends.tool_kinds import ToolUse, described, tools_of
from agents.faults import AgentFault, InputFault
from agents.services.assignment import Assigned
from tests.db.agents.contexts import ask
from tests.db.agents.model_server import ModelServer, serving
from tests.db.engine.scenes import temporary
from workflows.handlers import StepContext
from workflows.tasks import TaskFailure

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PLAN = {
    "type": "object",
    "properties": {"stages": {"type": "integer", "minimum": 1}, "name": {"type": "string"}},
    "required": ["stages", "name"],
    "additionalProperties": False,
}


@pytest.fixture
def server(settings: Any) -> Iterator[ModelServer]:
    with serving() as made:
        made.key = "sk-canary-of-the-settings"
        settings.MGX_ALLOWED_INTERNAL_HOSTS = [made.host]
        settings.LLM_BASE_URL = made.url
        settings.LLM_API_KEY = made.key
        settings.LLM_MODEL = "small"
        yield made


@pytest.fixture
def call(server: ModelServer) -> Callable[..., Any]:
    """Return a function that asks the model: ``call({"tools": […]}, inputs={…})``."""

    def call(config: dict[str, Any] | None = None, **fields: Any) -> Any:
        return ask("llm", config or {}, **fields)

    return call


def fault(call: Callable[..., Any], *given: Any, **fields: Any) -> AgentFault:
    with pytest.raises(AgentFault) as caught:
        call(*given, **fields)
    return caught.value


# --- questions and answers ----------------------------------------------------------------


def test_a_model_is_told_what_to_do_and_its_tokens_are_counted(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    config = {"instructions": "Be brief.", "options": {"temperature": 0, "stream": True}}
    output = call(config, inputs={"task": "Größe"})
    assert output == {
        "answer": 'Told: {"task": "Größe"}',
        "usage": {"model": "small", "calls": 1, "input_tokens": 20, "output_tokens": 5},
        "tools": [],
    }
    [question] = server.questions
    assert question["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (question["model"], question["temperature"], question["stream"]) == ("small", 0, False)


def test_work_that_was_sent_back_is_told_with_the_answer_before(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    call(inputs={"a": 1}, feedback="Canary first.", previous={"answer": {"stages": 3}})
    [question] = server.questions
    assert [(each["role"], each["content"]) for each in question["messages"]] == [
        ("user", '{"a": 1}'),
        ("assistant", '{"stages": 3}'),
        ("user", "Canary first."),
    ]


def test_an_answer_is_held_to_its_schema(server: ModelServer, call: Callable[..., Any]) -> None:
    output = call({"output_schema": PLAN})
    assert output["answer"] == {"stages": 1, "name": "x"}
    asked = server.questions[0]["response_format"]
    assert (asked["type"], asked["json_schema"]["schema"]) == ("json_schema", PLAN)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("Here is your plan", "no JSON"),
        ('{"stages": 0, "name": "a"}', "minimum"),
        ('{"stages": 2}', "required"),
        ('{"stages": 2, "name": "a", "name": "b"}', "no JSON"),
        ("", "no JSON"),
    ],
)
def test_a_model_is_told_what_is_wrong_and_may_answer_again(
    server: ModelServer, call: Callable[..., Any], said: str, problem: str
) -> None:
    orders = {"say": [said, '{"stages": 2, "name": "a"}']}
    output = call({"output_schema": PLAN}, inputs=orders)
    assert output["answer"] == {"stages": 2, "name": "a"}
    assert output["usage"] == {
        "model": "small",
        "calls": 2,
        "input_tokens": 10 + 30,
        "output_tokens": 10,
    }
    assert problem in server.questions[1]["messages"][-1]["content"]


def test_one_that_never_answers_as_it_should_is_given_up(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    config = {"output_schema": PLAN, "max_turns": 3}
    assert fault(call, config, inputs={"say": ["no"]}).code == "too_many_turns"
    assert len(server.questions) == 3


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}},
        {"type": "object", "properties": {"a": {"type": "nonsense"}}},
        {"type": "object", "$defs": {"a": {"$ref": "#/$defs/a"}}, "allOf": [{"$ref": "#/$defs/a"}]},
    ],
)
def test_a_schema_that_cannot_be_held_to_is_the_agents_fault(
    server: ModelServer, call: Callable[..., Any], schema: dict[str, Any]
) -> None:
    assert fault(call, {"output_schema": schema}).code == "agent_config"
    assert server.questions == []


# --- tools --------------------------------------------------------------------------------


def test_a_model_calls_a_tool_of_its_own_and_is_told_the_result(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    seen: list[tuple[str, float]] = []

    def refund(order: str, amount: float = 1.0) -> dict[str, Any]:
        """Pay an order back."""
        seen.append((order, amount))
        return {"paid": True}

    orders = {"call": [["test_refund", {"order": "7", "amount": 2.5}]]}
    with temporary("test.refund")(refund):
        output = call({"tools": ["test.refund"]}, inputs=orders)
    assert seen == [("7", 2.5)]
    assert output["tools"] == [{"tool": "test.refund", "outcome": "completed"}]
    assert output["answer"] == 'Told: {"result":{"paid":true}}'
    assert output["usage"]["calls"] == 2
    [described] = server.questions[0]["tools"]
    assert described["function"]["name"] == "test_refund"
    assert described["function"]["description"] == "Pay an order back."
    assert described["function"]["parameters"]["required"] == ["order"]
    assert described["function"]["parameters"]["properties"]["amount"]["type"] == "number"
    said = server.questions[1]["messages"][-2]
    assert said["tool_calls"][0]["type"] == "function"


def test_a_tool_is_described_as_far_as_its_annotations_tell() -> None:
    class Unknown:
        pass

    def typed(url: str, day: date, what: Unknown, free, context, **others: int) -> None:
        """Never called."""

    with temporary("test.typed")(typed):
        uses = [ToolUse(tool="http.request"), ToolUse(tool="test.typed")]
        tools = [described(tool) for tool, _ in tools_of(uses, remembers=False)]
    schemas = [tool["function"]["parameters"] for tool in tools]
    for schema in schemas:
        assert schema["type"] == "object"
        jsonschema_rs.meta.validate({"$schema": DIALECT, **schema})
    assert schemas[0]["required"] == ["url"]
    assert "POST" in schemas[0]["properties"]["method"]["enum"]
    assert schemas[1]["properties"].keys() == {"url", "day", "what", "free"}
    assert schemas[1]["properties"]["day"] == {"format": "date", "type": "string"}
    assert schemas[1]["additionalProperties"] is True


@pytest.mark.parametrize("tools", [[], ["transform"]])
def test_a_tool_that_is_not_listed_is_refused_and_noted(
    server: ModelServer,
    call: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    tools: list[str],
) -> None:
    ran: list[str] = []

    def forbidden() -> None:
        ran.append("ran")

    with temporary("test.forbidden")(forbidden), caplog.at_level(logging.WARNING, "agents"):
        names = ["test.forbidden", "test_forbidden", "approve"]
        output = call({"tools": tools}, inputs={"call": [[name, {}] for name in names]})
    assert ran == []
    assert output["tools"] == [{"tool": name, "outcome": "refused"} for name in names]
    assert [name for name in names if repr(name) in caplog.text] == names
    answers = [m for m in server.questions[1]["messages"] if m["role"] == "tool"]
    assert all("no such tool" in message["content"] for message in answers)


def test_what_a_tool_refuses_is_told_to_the_model(call: Callable[..., Any]) -> None:
    def broken(order: str) -> None:
        raise TaskFailure("The order is paid", "already_paid")

    def large() -> str:
        return "x" * 100_000

    orders = {
        "call": [
            ["test_broken", {"order": "7"}],
            ["test_broken", {"order": 7}],
            ["test_broken", {"other": "7"}],
            ["test_broken", {"order": "7", "context": {}}],
            ["test_broken", ["7"]],
            ["test_large", {}],
        ]
    }
    with temporary("test.broken")(broken), temporary("test.large")(large):
        output = call({"tools": ["test.broken", "test.large"]}, inputs=orders)
    outcomes = [each["outcome"] for each in output["tools"]]
    assert outcomes == ["already_paid", *["invalid_inputs"] * 4, "completed"]
    assert "cannot be told" in output["answer"]


def test_each_call_has_a_key_of_its_own_and_the_same_at_each_attempt(
    call: Callable[..., Any],
) -> None:
    keys: list[str] = []

    def pay(order: str, context: StepContext) -> None:
        keys.append(context.idempotency_key)

    orders = {"call": [["test_pay", {"order": name}] for name in ("7", "8", "7")]}
    with temporary("test.pay")(pay):
        for attempt in (1, 2):
            call({"tools": ["test.pay"]}, inputs=orders, attempt=attempt)
    assert len(set(keys)) == 3
    assert keys[:3] == keys[3:]


def test_a_tool_that_breaks_fails_the_step_as_a_task_would(call: Callable[..., Any]) -> None:
    def explode() -> None:
        raise ZeroDivisionError

    with temporary("test.explode")(explode), pytest.raises(ZeroDivisionError):
        call({"tools": ["test.explode"]}, inputs={"call": [["test_explode", {}]]})


def test_a_model_that_calls_without_end_is_stopped(call: Callable[..., Any]) -> None:
    orders = {"call": [["transform", {}]] * 101}
    assert fault(call, {"tools": ["transform"]}, inputs=orders).code == "too_many_calls"


def test_a_tool_that_is_not_registered_is_the_agents_fault(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    assert fault(call, {"tools": ["nowhere.task"]}).code == "agent_config"
    assert server.questions == []


# --- faults -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (429, "http_429"),
        (500, "http_500"),
        (404, "http_404"),
        ("drop", "agent_unreachable"),
        ("cut", "answer_cut_off"),
        (b"<h1>Gateway</h1>", "unreadable_answer"),
        (b'{"choices": []}', "unreadable_answer"),
        (b"[]", "unreadable_answer"),
    ],
)
def test_what_goes_wrong_at_the_model_is_the_agents_fault(
    server: ModelServer, call: Callable[..., Any], given: Any, code: str
) -> None:
    server.faults = [given]
    assert fault(call).code == code
    assert call()["answer"] == "Told: {}"


def test_what_the_model_refuses_is_the_fault_of_the_inputs(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    server.faults = [400]
    with pytest.raises(InputFault, match="Not now"):
        call()
    with pytest.raises(InputFault) as caught:
        call(inputs={"refuse": True})
    assert caught.value.code == "model_refused"


def test_without_a_model_nothing_is_asked(call: Callable[..., Any], settings: Any) -> None:
    settings.LLM_MODEL = ""
    assert "LLM_MODEL" in str(fault(call))
    settings.LLM_BASE_URL, settings.LLM_MODEL = "http://169.254.169.254/v1", "small"
    assert fault(call).code == "forbidden_address"


# --- keys ---------------------------------------------------------------------------------


def test_an_agent_has_a_key_of_its_own_for_an_address_of_its_own(
    server: ModelServer,
    call: Callable[..., Any],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-other-canary")
    server.key = "sk-other-canary"
    settings.LLM_BASE_URL = "https://api.example.com/v1"
    config = {"base_url": server.url, "model": "large", "key_env": "OTHER_KEY"}
    assert fault(call, config).code == "agent_config"
    settings.MGX_AGENT_SECRETS = [f"OTHER_KEY@{server.host}"]
    assert call(config)["usage"]["model"] == "large"


@pytest.mark.parametrize("key", ["sk-a\nX-Header: b", "sk-ключ", "\n"])
def test_a_key_that_cannot_be_sent_is_told_without_it(
    server: ModelServer, call: Callable[..., Any], settings: Any, key: str
) -> None:
    settings.LLM_API_KEY = key
    assert str(fault(call)) == "The environment holds nothing as LLM_API_KEY that could be sent"
    settings.LLM_API_KEY = f"{server.key}\n"
    assert call()["answer"] == "Told: {}"


def test_the_key_of_the_settings_goes_to_the_address_of_the_settings_alone(
    server: ModelServer, call: Callable[..., Any], settings: Any
) -> None:
    settings.LLM_BASE_URL = "https://api.example.com/v1"
    assert fault(call, {"base_url": server.url}).code == "http_401"
    assert fault(call, {"base_url": server.url, "key_env": "LLM_API_KEY"}).code == "agent_config"
    assert server.keys == [""]


def test_a_key_that_the_server_tells_back_is_left_out(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    server.faults = [500, 400]
    said = [str(fault(call))]
    with pytest.raises(InputFault) as caught:
        call()
    said.append(str(caught.value))
    said.append(json.dumps(call(inputs={"say": [server.key]})))
    assert all("…" in each or "\\u2026" in each for each in said)
    assert not any(server.key in each for each in said)


def test_who_has_no_such_agent_loads_nothing_for_it(tmp_path: Path) -> None:
    program = (
        "import django, sys; django.setup(); import agents.step\n"
        "names = ('httpx', 'standardwebhooks', 'agents.backends.http', 'agents.backends.llm')\n"
        "sys.exit(', '.join(name for name in names if name in sys.modules) or 0)"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "mgx.settings", "MGX_VAR": str(tmp_path)}
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root, env=environment)


# --- what a step may spend ----------------------------------------------------------------


def limited(tokens: int) -> Assigned:
    return Assigned(uuid4(), "Worker", "llm", {}, max_tokens=tokens)


def test_each_answer_may_be_as_long_as_what_is_left(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    orders = {"call": [["transform", {"a": 1}]]}
    call({"tools": ["transform"]}, inputs=orders, prepared=limited(100))
    assert [question["max_tokens"] for question in server.questions] == [100, 85]
    call({"options": {"max_completion_tokens": 30}}, prepared=limited(100))
    assert server.questions[-1]["max_completion_tokens"] == 30
    call({})
    assert "max_tokens" not in server.questions[-1]


def test_a_step_that_has_used_what_it_may_asks_the_model_no_more(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    orders = {"call": [["transform", {"a": 1}]]}
    with pytest.raises(InputFault) as refused:
        call({"tools": ["transform"]}, inputs=orders, prepared=limited(15))
    assert refused.value.code == "token_limit"
    assert len(server.questions) == 1
