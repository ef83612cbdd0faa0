"""The config of an agent outside is held to what its backend needs when it is saved."""

import json
from typing import Any

import pytest
from django.test import Client

from agents.backends.configs import find_wrong_config
from agents.models import AgentDefinition, AgentInstance
from workflows.models import User

SERVICE = {"url": "https://planner.example.com/run", "secret_env": "PLANNER_SECRET"}


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    user = User.objects.create_superuser("root", "root@example.org")
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def save_definition(client: Client, config: Any, agent_type: str) -> Any:
    data = {"name": "Planner", "slug": "planner", "agent_type": agent_type, "is_enabled": "on"}
    data |= {"capabilities": "", "config": json.dumps(config), "config_schema": ""}
    return client.post("/admin/agents/agentdefinition/add/", data)


def save_instance(client: Client, definition: AgentDefinition, workspace: Any, config: Any) -> Any:
    data = {"workspace": workspace.pk, "definition": definition.pk, "name": "P", "slug": "p"}
    data |= {"max_concurrency": 1, "config": json.dumps(config)}
    return client.post("/admin/agents/agentinstance/add/", data)


def said(answer: Any) -> list[str]:
    errors: list[str] = answer.context["adminform"].form.errors["config"]
    return errors


@pytest.mark.parametrize(
    ("agent_type", "config", "problem"),
    [
        ("http", {"url": "http://169.254.169.254/"}, "url: 169.254.169.254 is an internal address"),
        ("http", {"timeout_seconds": 0}, "timeout_seconds: Input should be greater than 0"),
        ("llm", {"base_url": "ftp://x"}, "base_url: A URL begins with https:// or http://"),
        ("llm", {"tools": ["fail", "fail"]}, "tools: Several of them are fail to the model"),
        ("llm", {"tools": ["nowhere"]}, "tools.0.tool: No task is registered as nowhere"),
        ("llm", {"output_schema": {"type": "x"}}, "output_schema: A form is a schema of type"),
        ("llm", {"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ("demo", {"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
        (
            "http",
            {"prices": {"input_per_million": -1}},
            "prices.input_per_million: Input should be greater than or equal to 0",
        ),
        ("python", {"prices": {"per_token": 1}}, "prices.per_token: Extra inputs"),
        ("llm", {"max_turns": 1000}, "max_turns: Input should be less than or equal to 50"),
    ],
)
def test_a_definition_with_a_wrong_config_is_refused(
    root: Client, agent_type: str, config: dict[str, Any], problem: str
) -> None:
    [error] = said(save_definition(root, config, agent_type))
    assert error.startswith(problem)
    assert not AgentDefinition.objects.exists()


@pytest.mark.parametrize("name", ["api_key", "key", "Secret", "token", "X-Authorization"])
@pytest.mark.parametrize("agent_type", ["http", "llm"])
def test_a_secret_does_not_stand_in_a_config(agent_type: str, name: str) -> None:
    for config in ({name: "canary"}, {"options": {name: "canary"}}):
        [problem] = find_wrong_config(agent_type, config, is_whole=False)
        assert problem.startswith(f"{name} does not belong here")
        assert "canary" not in problem


def test_what_a_definition_leaves_open_its_instances_have_to_say(
    root: Client, workspace: Any
) -> None:
    assert save_definition(root, {"timeout_seconds": 5}, "http").status_code == 302
    definition = AgentDefinition.objects.get()
    errors = said(save_instance(root, definition, workspace, {"url": SERVICE["url"]}))
    assert errors == ["secret_env: Field required"]
    assert save_instance(root, definition, workspace, SERVICE).status_code == 302
    assert AgentInstance.objects.get().config == SERVICE


def test_what_is_no_object_is_refused(root: Client) -> None:
    assert said(save_definition(root, [1], "http"))
    assert said(save_definition(root, "x", "llm"))


def test_backends_of_this_installation_take_any_config(root: Client) -> None:
    assert save_definition(root, {"part": "planner", "key": 1}, "demo").status_code == 302
