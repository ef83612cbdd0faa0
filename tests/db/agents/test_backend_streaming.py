"""Models whose answers are read as they come, and those that cannot do that."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.backends import chat
from agents.backends.streaming import ChatStream
from agents.faults import AgentFault, InputFault
from agents.models import AgentDefinition, AgentMessage
from tests.db.agents.contexts import ask
from tests.db.agents.model_server import ModelServer, chunks, completion, serving
from tests.db.engine.scenes import (
    Scene,
    agent,
    ended,
    events_of,
    eventually,
    temporary,
)
from workflows.engine.driver import Driver
from workflows.models import Event

KEY = "canary-of-the-stream"


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setattr(chat, "_streams", chat._Streams())
    monkeypatch.setattr("agents.backends.streaming._TELL_SECONDS", 0)
    with serving() as made:
        made.key = KEY
        settings.MGX_ALLOWED_INTERNAL_HOSTS = [made.host]
        settings.LLM_BASE_URL = made.url
        settings.LLM_API_KEY = made.key
        settings.LLM_MODEL = "small"
        yield made


@pytest.fixture
def told() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def call(server: ModelServer, told: list[tuple[str, Any]]) -> Callable[..., Any]:
    """Return a function that asks the model, of which somebody is told how far it is."""

    def call(config: dict[str, Any] | None = None, **inputs: Any) -> Any:
        def tell(message: str, data: Any) -> None:
            told.append((message, data))

        return ask("llm", config or {}, inputs=inputs, progress=tell)

    return call


def say(*words: str) -> dict[str, Any]:
    return {"say": list(words)}


TEXT = "The plan has three stages, and each of them waits for the one before."


def streamed(server: ModelServer) -> list[bool]:
    return [question["stream"] for question in server.questions]


# --- asking -------------------------------------------------------------------------------


def test_an_answer_is_read_as_it_comes_and_told_of(
    call: Callable[..., Any], server: ModelServer, told: list[tuple[str, Any]]
) -> None:
    output = call(**say(TEXT))
    assert output["answer"] == TEXT
    assert (output["usage"]["input_tokens"], output["usage"]["output_tokens"]) == (10, 5)
    [question] = server.questions
    assert (question["stream"], question["stream_options"]) == (True, {"include_usage": True})
    assert told[0][0] == "Turn 1: it asks small"
    lengths = [data["characters"] for _, data in told[1:]]
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(TEXT)
    assert told[2] == ("14 characters: … The plan has", {"characters": 14})
    assert told[-1][0].endswith("waits for the one")


def test_tools_are_called_and_schemas_met_as_ever(
    call: Callable[..., Any], server: ModelServer
) -> None:
    @temporary("test.add")
    def add(left: int, right: int) -> int:
        return left + right

    with add:
        calls = [["test_add", {"left": 1, "right": 2}], ["test_add", {"left": 3, "right": 4}]]
        output = call({"tools": ["test.add"]}, call=calls)
    results = [m["content"] for m in server.questions[1]["messages"] if m["role"] == "tool"]
    assert results == ['{"result":3}', '{"result":7}']
    assert [entry["outcome"] for entry in output["tools"]] == ["completed", "completed"]
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert call({"output_schema": schema})["answer"] == {"n": 1}
    with pytest.raises(InputFault, match="refuses"):
        call(refuse=True)
    assert all(streamed(server))


def test_nobody_listens_nothing_is_streamed(server: ModelServer, call: Callable[..., Any]) -> None:
    ask("llm", {}, inputs=say(TEXT))
    call({"stream": False}, **say(TEXT))
    assert streamed(server) == [False, False]


def test_so_many_streams_at_once_and_the_others_whole(
    server: ModelServer, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "_MOST_STREAMS", 0)
    assert call(**say(TEXT))["answer"] == TEXT
    assert streamed(server) == [False]
    monkeypatch.setattr(chat, "_MOST_STREAMS", 1)
    for _ in range(2):
        call(**say(TEXT))
    assert streamed(server) == [False, True, True]


@pytest.mark.parametrize("how", ["refused", "options_refused"])
def test_who_refuses_streams_is_asked_for_none_any_more(
    server: ModelServer, call: Callable[..., Any], how: str
) -> None:
    server.streaming = how
    assert call(**say(TEXT))["answer"] == TEXT
    assert call(**say(TEXT))["answer"] == TEXT
    assert streamed(server) == [True, False, False]


def test_a_question_that_is_refused_is_so_either_way(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    server.faults = [400, 400]
    with pytest.raises(InputFault):
        call(**say(TEXT))
    assert streamed(server) == [True, False]
    call(**say(TEXT))
    assert streamed(server)[-1] is True


def test_who_answers_whole_all_the_same_is_understood(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    server.streaming = "whole"
    output = call(**say(TEXT))
    assert (output["answer"], output["usage"]["output_tokens"]) == (TEXT, 5)


def test_who_counts_no_streams_is_asked_for_none_any_more(
    server: ModelServer, call: Callable[..., Any]
) -> None:
    server.streaming = "uncounted"
    assert call(**say(TEXT))["answer"] == TEXT
    assert call(**say(TEXT))["usage"]["output_tokens"] == 5
    assert streamed(server) == [True, False]


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("cut", "agent_unreachable", "ended in the middle"),
        ("error", "agent_unreachable", "broke off: Overloaded"),
    ],
)
def test_a_stream_that_breaks_off_is_the_agents_fault(
    server: ModelServer, call: Callable[..., Any], how: str, code: str, words: str
) -> None:
    server.streaming = how
    with pytest.raises(AgentFault, match=words) as caught:
        call(**say(TEXT))
    assert caught.value.code == code


def test_no_secret_is_told_nor_a_part_of_one(
    call: Callable[..., Any], told: list[tuple[str, Any]], settings: Any
) -> None:
    output = call(**say(f"Before {KEY} and Bearer abcdefghijkl after " + "word " * 200 + "end"))
    assert "canary" not in output["answer"]
    messages = " ".join(message for message, _ in told)
    for part in ("canary", "-of-the-", "abcdefgh", "stream"):
        assert part not in messages
    assert max(len(message) for message, _ in told) < 250


@pytest.mark.django_db(transaction=True)
def test_people_see_an_answer_while_it_comes_and_read_all_of_it_later(
    server: ModelServer, workspace: Any, users: dict[str, Any], settings: Any
) -> None:
    settings.MGX_DRAIN_SECONDS = 0.5
    scene = Scene(workspace, users)
    scene.agent("model", config={"task": "transform"})
    AgentDefinition.objects.update(agent_type="llm", config={})
    server.goes_on.clear()
    driver = Driver()
    driver.launch()
    try:
        execution = scene.run(agent("a", "model", config={"inputs": say(TEXT)}))

        def told() -> list[Event]:
            events = events_of(execution.id, "agent_activity")
            return [event for event in events if "… The plan has" in event.message]

        event = eventually(told, "what has come so far")[0]
        assert event.message.startswith("a: ")
        assert 0 < event.data["characters"] < len(TEXT)
        server.goes_on.set()
        assert ended(execution).status == "completed"
    finally:
        server.goes_on.set()
        driver.stop()
        assert driver.join(20)
    last = AgentMessage.objects.order_by("position").last()
    assert last is not None
    assert (last.role, last.content) == ("assistant", TEXT)


# --- reading --------------------------------------------------------------------------------


def body(text: str = TEXT) -> bytes:
    question = {"model": "small", "messages": [{"role": "user", "content": text}]}
    events = chunks(completion(question))
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)


def read(*parts: bytes) -> Any:
    stream = ChatStream(lambda length, tail: None)
    for part in parts:
        stream.feed(part)
    return stream.result()


def test_it_may_be_cut_anywhere() -> None:
    whole = body("Grüße, schöne")
    expected = read(whole)
    assert expected["choices"][0]["message"]["content"] == "Told: Grüße, schöne"
    assert read(*(whole[at : at + 1] for at in range(len(whole)))) == expected
    assert read(whole.replace(b"\n", b"\r\n")) == expected
    assert read(b": hello\n\nevent: x\nid: 1\n" + whole + b"data: [DONE]") == expected


def test_calls_without_numbers_are_kept_apart() -> None:
    call = b'data: {"choices":[{"delta":{"tool_calls":[%s]}}]}\n\n'
    parts = [
        call % b'{"id":"1","function":{"name":"a","arguments":"{"}}',
        call % b'{"function":{"arguments":"}"}}',
        call % b'{"id":"2","function":{"name":"b"}}',
    ]
    message = read(*parts, b"data: [DONE]\n\n")["choices"][0]["message"]
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "a", "arguments": "{}"},
        {"name": "b", "arguments": ""},
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"choices": 1}\n\n',
        b"data: \xff\n\n",
        b"",
        b"<html>",
    ],
)
def test_what_is_no_stream_of_an_answer_is_the_agents_fault(wrong: bytes) -> None:
    with pytest.raises(AgentFault):
        read(wrong)


def test_it_is_bounded(settings: Any) -> None:
    settings.MGX_MAX_OUTPUT_BYTES = 1_000
    with pytest.raises(AgentFault, match="longer than it may be"):
        read(body("x" * 1_001))
    with pytest.raises(AgentFault, match="longer than it may be"):
        read(b"data: " + b"x" * 1_001)


def test_all_that_stands_around_an_answer_is_bounded_too(
    server: ModelServer, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("agents.backends.calls._STREAMED_AT_MOST", 4)
    settings.MGX_MAX_OUTPUT_BYTES = 250
    with pytest.raises(AgentFault, match="longer than it may be"):
        call(**say("word " * 11))
