"""Agents that call tools of registered MCP servers, in steps of runs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agents.backends.configs import find_wrong_config
from agents.models import AgentDefinition, AgentInstance, AgentType, ToolServer
from agents.services.offered_tools import tell_tools
from agents.services.tool_reading import kept
from approvals.models import WorkflowStepApproval
from tests.db.agents.contexts import context_of
from tests.db.agents.fake_tool_server import ECHO, ToolHost, hosting
from tests.db.agents.model_server import ModelServer
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, steps_of
from workflows.models import Workspace
from workflows.services.access import create_workspace

pytestmark = pytest.mark.django_db

SECRET = "canary-secret-of-the-tools"


@pytest.fixture
def host(settings: Any, monkeypatch: Any) -> Iterator[ToolHost]:
    with hosting() as made:
        made.secret = SECRET
        monkeypatch.setenv("TOOLS_TOKEN", SECRET)
        settings.MGX_AGENT_SECRETS = [f"TOOLS_TOKEN@{made.host}"]
        yield made


def register(workspace: Workspace, host: ToolHost, **fields: Any) -> ToolServer:
    given = {
        "name": "Words",
        "slug": "words",
        "url": host.url,
        "secret_env": "TOOLS_TOKEN",
        "tools": kept(host.tools).tools,
    }
    made: ToolServer = ToolServer.objects.create(workspace=workspace, **given | fields)
    return made


def model(scene: Scene, *tools: Any) -> AgentInstance:
    definition = AgentDefinition.objects.create(
        name="Model", slug="worker", agent_type=AgentType.LLM, config={"tools": list(tools)}
    )
    made: AgentInstance = AgentInstance.objects.create(
        workspace=scene.workspace, definition=definition, name="Model", slug="model"
    )
    return made


def asked_to(scene: Scene, *calls: Any) -> Any:
    """Start a run whose model is told to call tools."""
    return scene.run(agent("ask", config={"inputs": {"call": list(calls)}}, max_retries=0))


def told(server: ModelServer) -> list[dict[str, Any]]:
    """Return the results of calls that the model was told last."""
    messages = server.questions[-1]["messages"]
    return [json.loads(each["content"]) for each in messages if each["role"] == "tool"]


def test_a_tool_is_described_called_and_its_result_marked(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    register(scene.workspace, host)
    model(scene, "words/echo")
    host.result = {"content": [], "structuredContent": {"said": f"hi {SECRET}"}}
    run = asked_to(scene, ["words_echo", {"words": "hi"}])
    hand.work()
    assert steps_of(run)["ask"].status == "completed"
    (described,) = [each["function"] for each in server.questions[0]["tools"]]
    assert described["name"] == "words_echo"
    assert described["parameters"] == ECHO["inputSchema"]
    assert described["description"].startswith("What it returns comes from outside")
    assert told(server) == [{"result": {"trust": "outside", "content": {"said": "hi …"}}}]
    assert steps_of(run)["ask"].output_data["tools"] == [
        {"tool": "words/echo", "outcome": "completed"}
    ]
    assert SECRET not in json.dumps(steps_of(run)["ask"].output_data)


def test_each_call_has_a_key_of_its_own(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    register(scene.workspace, host)
    model(scene, "words/echo")
    asked_to(scene, *[["words_echo", {"words": words}] for words in ("a", "a", "b")])
    hand.work()
    keys = [h["idempotency-key"] for h, m in host.asked if m["method"] == "tools/call"]
    assert len(set(keys)) == len(keys) == 3
    assert host.methods().count("initialize") == 1


@pytest.mark.parametrize(
    ("fault", "code", "in_doubt"),
    [
        (503, "http_503", True),
        ({"code": -32602, "message": "No such words"}, "tool_refused", False),
        (b"nonsense", "tool_unreadable", True),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(
    scene: Scene,
    hand: DriverByHand,
    server: ModelServer,
    host: ToolHost,
    fault: Any,
    code: str,
    in_doubt: bool,
) -> None:
    register(scene.workspace, host)
    model(scene, "words/echo")
    host.faults["tools/call"] = fault
    run = asked_to(scene, ["words_echo", {}])
    hand.work()
    assert steps_of(run)["ask"].status == "completed"
    (problem,) = told(server)
    assert problem["code"] == code
    assert ("may have been done" in problem["error"]) is in_doubt
    assert "canary" not in json.dumps(problem)


def test_an_error_of_the_tool_is_told_to_the_model(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    register(scene.workspace, host)
    model(scene, "words/echo")
    host.result = {"isError": True, "content": [{"type": "text", "text": "No such city"}]}
    asked_to(scene, ["words_echo", {}])
    hand.work()
    assert told(server) == [{"error": "words/echo: No such city", "code": "tool_error"}]


def test_a_result_that_is_too_long_is_not_told(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    register(scene.workspace, host)
    model(scene, "words/echo")
    host.result = {"content": [{"type": "text", "text": "x" * 100_000}]}
    asked_to(scene, ["words_echo", {}])
    hand.work()
    (problem,) = told(server)
    assert problem["error"].startswith("It was done, but its result cannot be told")


def test_a_tool_that_the_config_does_not_list_is_refused(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    host.tools = [ECHO, ECHO | {"name": "delete"}]
    register(scene.workspace, host)
    model(scene, "words/echo")
    asked_to(scene, ["words_delete", {}])
    hand.work()
    assert told(server) == [{"error": "There is no such tool. Nothing was done."}]
    assert host.asked == []


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        ("other/echo", {}, "no tool server “other”"),
        ("words/other", {"last_error": "it is down"}, "offers none of that name (it is down)"),
        ("words/echo", {"is_enabled": False}, "is switched off"),
    ],
)
def test_an_agent_without_its_tool_does_not_begin(
    scene: Scene,
    hand: DriverByHand,
    server: ModelServer,
    host: ToolHost,
    name: str,
    fields: dict[str, Any],
    why: str,
) -> None:
    register(scene.workspace, host, **fields)
    model(scene, name)
    run = asked_to(scene)
    hand.work()
    step = steps_of(run)["ask"]
    assert (step.status, step.error_code) == ("failed", "agent_config")
    assert why in step.error_message
    assert server.questions == []


def test_tools_that_are_alike_to_the_model_are_refused(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    host.tools = [ECHO | {"name": "a_b"}, ECHO | {"name": "a.b"}]
    register(scene.workspace, host)
    model(scene, "words/a_b", {"tool": "words/a.b", "needs_approval": True})
    run = asked_to(scene)
    hand.work()
    step = steps_of(run)["ask"]
    assert (step.error_code, "words_a_b" in step.error_message) == ("agent_config", True)


@pytest.mark.parametrize("name", ["/echo", "words/", "words/a/b", "words/a b", "wörds/x"])
def test_what_is_no_name_of_a_tool_is_refused_when_it_is_saved(name: str) -> None:
    assert find_wrong_config("llm", {"tools": [name]}, is_whole=False)
    assert not find_wrong_config("llm", {"tools": ["words/echo-2.x"]}, is_whole=False)


def test_a_server_of_another_workspace_is_none(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    register(create_workspace(name="Other", slug="other"), host)
    model(scene, "words/echo")
    run = asked_to(scene)
    hand.work()
    assert steps_of(run)["ask"].error_code == "agent_config"


def test_in_one_turn_each_workspace_has_its_own(scene: Scene, host: ToolHost) -> None:
    other = create_workspace(name="Other", slug="other")
    register(scene.workspace, host)
    register(other, host, url="https://other.example/mcp")
    contexts = [
        context_of("llm", {"tools": ["words/echo", "transform"]}, workspace_id=each.pk)
        for each in (other, scene.workspace)
    ]
    tell_tools([(context, context.prepared) for context in contexts])
    offers = [context.prepared.offers for context in contexts]
    assert [list(each) for each in offers] == [["words/echo"]] * 2
    assert [each["words/echo"].url for each in offers] == ["https://other.example/mcp", host.url]
    assert "canary" not in repr(offers[0])


def test_a_secret_that_is_not_meant_for_the_server_is_not_sent(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost, settings: Any
) -> None:
    register(scene.workspace, host)
    model(scene, "words/echo")
    settings.MGX_AGENT_SECRETS = ["TOOLS_TOKEN@elsewhere.example"]
    run = asked_to(scene, ["words_echo", {}])
    hand.work()
    assert steps_of(run)["ask"].error_code == "agent_config"
    assert host.asked == []


def test_people_can_be_asked_before_a_call(
    scene: Scene, hand: DriverByHand, server: ModelServer, host: ToolHost
) -> None:
    register(scene.workspace, host)
    model(scene, {"tool": "words/echo", "needs_approval": True})
    asked_to(scene, ["words_echo", {"words": "hi"}])
    hand.work()
    asked = WorkflowStepApproval.objects.get()
    assert asked.approval_data["tool"] == "words/echo"
    assert asked.approval_data["arguments"] == {"words": "hi"}
    assert "tools/call" not in host.methods()
