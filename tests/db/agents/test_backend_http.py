"""Agents that are services: what they are sent, what is an answer, and whose fault it is if not."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.backends import backend
from agents.backends.configs import find_wrong_config
from agents.faults import AgentFault, InputFault
from tests.db.agents.contexts import STEP_ID, ask, context_of
from tests.db.receiver import Receiver, receiving
from workflows.webhooks.signing import new_secret

SECRET = new_secret()
NAME = "WORKER_SECRET"


@pytest.fixture
def service(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as made:
        made.answer = (200, {}, b'{"plan": ["a"]}')
        monkeypatch.setenv(NAME, SECRET)
        settings.MGX_ALLOWED_INTERNAL_HOSTS = [made.host]
        settings.MGX_AGENT_SECRETS = [f"{NAME}@{made.host}"]
        yield made


@pytest.fixture
def call(service: Receiver) -> Callable[..., Any]:
    """Return a function that asks the service: ``call(inputs={…}, timeout_seconds=1)``."""

    def call(config: dict[str, Any] | None = None, **fields: Any) -> Any:
        named = {"url": service.url, "secret_env": NAME, **(config or {})}
        return ask("http", named, **fields)

    return call


def test_a_service_is_told_what_to_do_and_answers_with_the_output(
    service: Receiver, call: Callable[..., Any]
) -> None:
    given = {"inputs": {"task": "Größe"}, "feedback": "Smaller.", "previous": [1], "revision": 2}
    assert call(**given) == {"plan": ["a"]}
    [document] = service.documents(SECRET)
    assert {key: document[key] for key in ("inputs", "feedback", "previous")} == {
        "inputs": {"task": "Größe"},
        "feedback": "Smaller.",
        "previous": [1],
    }
    assert document["step"] == {"id": str(STEP_ID), "name": "ask", "attempt": 1, "revision": 2}
    assert (document["run"]["workflow"], document["run"]["number"]) == ("Deployment", 7)
    assert document["agent"]["name"] == "Worker"


def test_all_attempts_of_a_step_have_one_id(service: Receiver, call: Callable[..., Any]) -> None:
    call(attempt=1)
    call(attempt=2)
    assert service.ids == [str(STEP_ID)] * 2


def test_many_services_are_waited_for_at_once(service: Receiver) -> None:
    config = {"url": service.url, "secret_env": NAME}
    service.is_open.clear()

    async def call_all() -> list[Any]:
        called = asyncio.gather(
            *(backend("http").run(config, context_of("http", config)) for _ in range(50))
        )
        while len(service.received) < 50:
            assert not called.done()
            await asyncio.sleep(0.01)
        service.is_open.set()
        return list(await called)

    assert asyncio.run(call_all()) == [{"plan": ["a"]}] * 50


@pytest.mark.parametrize("status", [500, 502, 503, 401, 408, 429, 302])
def test_what_the_inputs_cannot_cause_is_the_agents_fault(
    service: Receiver, call: Callable[..., Any], status: int
) -> None:
    service.answer = (status, {"Location": "http://127.0.0.1:1/"}, b"<h1>no</h1>")
    with pytest.raises(AgentFault) as caught:
        call()
    assert caught.value.code == f"http_{status}"
    assert len(service.received) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"title": "No", "detail": "The order 7 is paid"}', "The order 7 is paid"),
        (b'{"title": "No such order"}', "No such order"),
        (b'{"error": {"message": "Too long"}}', "Too long"),
        (b"<h1>Bad Request</h1>", ""),
        (b'{"detail": "' + b"x" * 100_000 + b'"}', ""),
        (b"\xff" * 10, ""),
    ],
    ids=["problem", "title", "model server", "page", "too long", "no text"],
)
def test_a_refusal_is_the_fault_of_the_inputs_in_the_words_of_the_service(
    service: Receiver, call: Callable[..., Any], body: bytes, words: str
) -> None:
    service.answer = (422, {"Content-Type": "application/problem+json"}, body)
    with pytest.raises(InputFault) as caught:
        call()
    assert caught.value.code == "http_422"
    said = f"http://{service.host} answered 422"
    assert str(caught.value) == (f"{said}: {words}" if words else said)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b'"\\u0000"',
        b"[" * 40 + b"]" * 40,
        b"\xff",
        b'"' + b"x" * 2_000 + b'"',
    ],
    ids=lambda body: body[:10].decode("ascii", "replace"),
)
def test_an_answer_that_cannot_be_read_is_the_agents_fault(
    service: Receiver, call: Callable[..., Any], settings: Any, body: bytes
) -> None:
    settings.MGX_MAX_OUTPUT_BYTES = 1_000
    service.answer = (200, {}, body)
    with pytest.raises(AgentFault) as caught:
        call()
    assert caught.value.code == "unreadable_answer"


def test_no_more_is_read_than_an_output_may_have(
    service: Receiver, call: Callable[..., Any], settings: Any
) -> None:
    settings.MGX_MAX_OUTPUT_BYTES = 1_000
    service.answer = (200, {"Content-Length": "1000000000"}, b"x" * 100_000)
    with pytest.raises(AgentFault, match="more than 1000 bytes"):
        call()


def test_no_answer_in_time_is_the_agents_fault(service: Receiver, call: Callable[..., Any]) -> None:
    service.is_open.clear()
    with pytest.raises(AgentFault) as caught:
        call({"timeout_seconds": 0.2})
    assert caught.value.code == "agent_timeout"


def test_a_connection_that_breaks_or_is_refused_is_the_agents_fault(
    service: Receiver, call: Callable[..., Any], settings: Any
) -> None:
    service.answer = (200, {"Content-Length": "nonsense"}, b"{}")
    with pytest.raises(AgentFault) as caught:
        call()
    assert caught.value.code == "agent_unreachable"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    settings.MGX_ALLOWED_INTERNAL_HOSTS = [host]
    settings.MGX_AGENT_SECRETS = [f"{NAME}@{host}"]
    with pytest.raises(AgentFault) as caught:
        call({"url": f"http://{host}/?key=canary"})
    assert caught.value.code == "agent_unreachable"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/latest/",
        "https://[::ffff:169.254.169.254]/",
        "https://0x7f000001/",
        "https://user:pass@example.com/",
        "https://example.com:22/",
    ],
)
def test_an_internal_address_is_not_called(
    call: Callable[..., Any], settings: Any, url: str
) -> None:
    host = url.split("/")[2].split("@")[-1].strip("[]")
    settings.MGX_AGENT_SECRETS = [f"{NAME}@{host}"]
    with pytest.raises(AgentFault) as caught:
        call({"url": url})
    assert caught.value.code == "agent_config"
    assert find_wrong_config("http", {"url": url}, is_whole=False) == [
        str(caught.value).removeprefix("The agent's config is wrong: ")
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::ffff:127.0.0.1"])
def test_a_name_that_leads_inside_is_refused_at_the_connection(
    call: Callable[..., Any], settings: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 443))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    settings.MGX_AGENT_SECRETS = [f"{NAME}@planner.example.com"]
    config = {"url": "https://planner.example.com/?key=canary", "secret_env": NAME}
    assert find_wrong_config("http", config, is_whole=True) == []
    with pytest.raises(AgentFault) as caught:
        call(config)
    assert caught.value.code == "forbidden_address"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "OTHER_SECRET", ""])
def test_no_other_secret_of_the_environment_is_sent(
    service: Receiver, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whoever may edit an agent's config must not reach what the installation keeps for itself."""
    if name:
        monkeypatch.setenv(name, SECRET)
    with pytest.raises(AgentFault) as caught:
        call({"secret_env": name})
    assert caught.value.code == "agent_config"
    assert service.received == []


def test_a_secret_goes_only_to_the_host_that_it_is_meant_for(
    service: Receiver, call: Callable[..., Any], settings: Any
) -> None:
    settings.MGX_AGENT_SECRETS = [f"{NAME}@planner.example.com"]
    with pytest.raises(AgentFault, match="is meant for"):
        call()
    with pytest.raises(AgentFault, match="by https:// only"):
        call({"url": "http://planner.example.com/"})
    assert service.received == []


@pytest.mark.parametrize(
    "config", [{"url": None}, {"url": 5}, {"timeout_seconds": 0}, {"timeout_seconds": 1e9}]
)
def test_a_wrong_config_is_the_agents_fault(
    service: Receiver, call: Callable[..., Any], config: dict[str, Any]
) -> None:
    with pytest.raises(AgentFault) as caught:
        call(config)
    assert caught.value.code == "agent_config"
    assert service.received == []


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_secret_that_a_service_echoes_is_left_out(
    service: Receiver, call: Callable[..., Any], status: int
) -> None:
    echo = {"detail": f"Signed with {SECRET}", SECRET: [SECRET]}
    service.answer = (status, {}, json.dumps(echo).replace("/", "\\/").encode())
    try:
        said = json.dumps(call())
    except (AgentFault, InputFault) as fault:
        said = str(fault)
    assert "Signed with" in said
    assert SECRET not in said
