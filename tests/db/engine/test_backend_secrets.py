"""No secret of an agent gets anywhere but to the agent: not when it fails, and not when the agent
tells it back.
"""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from agents.models import AgentDefinition, AgentInstance, AgentType
from tests.db.agents.model_server import ModelServer, completion, serving
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import AT_ONCE, Scene, agent, gate, request_of, statuses
from tests.db.receiver import Receiver, receiving
from workflows.models import User, WorkflowExecution
from workflows.webhooks.signing import new_secret

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise(
        "P23 secrets that models and services tell back, looked for in all that can be read"
    ),
]

KEY = "sk-canary/0f9e8d7c6b5a"
SECRET = new_secret()


@pytest.fixture
def model(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with serving() as made:
        made.key = KEY
        monkeypatch.setenv("MODEL_KEY", KEY)
        settings.MGX_ALLOWED_INTERNAL_HOSTS = ["127.0.0.1"]
        settings.MGX_AGENT_SECRETS = [f"MODEL_KEY@{made.host}"]
        yield made


@pytest.fixture
def service(model: ModelServer, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    with receiving() as made:
        made.answer = (200, {}, json.dumps({"signed with": SECRET, SECRET: 1}).encode())
        monkeypatch.setenv("SERVICE_SECRET", SECRET)
        settings.MGX_AGENT_SECRETS += [f"SERVICE_SECRET@{made.host}"]
        yield made


@pytest.fixture
def run(scene: Scene, hand: DriverByHand, model: ModelServer, service: Receiver) -> Any:
    """Return a function that runs a model and a service, up to a gate that shows what they said."""
    configs = {
        "llm": {"base_url": model.url, "model": "small", "key_env": "MODEL_KEY"},
        "http": {"url": service.url, "secret_env": "SERVICE_SECRET"},
    }
    for agent_type, config in configs.items():
        definition = AgentDefinition.objects.create(
            name=agent_type, slug=agent_type, agent_type=AgentType(agent_type), config=config
        )
        AgentInstance.objects.create(
            workspace=scene.workspace, definition=definition, name=agent_type, slug=agent_type
        )

    def run() -> WorkflowExecution:
        execution = scene.run(
            agent("model", "llm", config=AT_ONCE),
            agent("service", "http", config=AT_ONCE),
            gate(after=["model", "service"], required_approvers=["user123"]),
        )
        hand.work()
        return execution

    return run


def echo() -> list[bytes]:
    """What a model says that knows its key: a call of it, and an answer with it."""
    question = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
    called, said = completion(question), completion(question)
    function = {"name": KEY, "arguments": json.dumps({"key": KEY})}
    called["choices"][0]["message"]["tool_calls"] = [{"id": "1", "function": function}]
    said["choices"][0]["message"]["content"] = f"My key is {KEY}"
    return [json.dumps(each).encode() for each in (called, said)]


def pages(client: Client, execution: WorkflowExecution) -> Iterator[str]:
    """Yield what every page about a run shows, and all of the admin."""
    yield client.get(reverse("executions")).content.decode()
    yield client.get(reverse("execution", args=[execution.pk])).content.decode()
    for made in AgentInstance.objects.all():
        yield client.get(reverse("agent", args=[made.pk])).content.decode()
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label not in ("agents", "approvals", "workflows"):
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield client.get(reverse(f"{name}_changelist")).content.decode()
        for row in model_admin.model._default_manager.all()[:20]:
            yield client.get(reverse(f"{name}_change", args=[row.pk])).content.decode()


def answers(client: Any, execution: WorkflowExecution) -> Iterator[str]:
    """Yield what the API tells of a run and of agents."""
    of_run = [f"executions/{execution.pk}/{part}" for part in ("", "steps/", "events/", "why/")]
    of_agents = [
        f"agents/{made.pk}/{part}"
        for made in AgentInstance.objects.all()
        for part in ("messages/", "metrics/", "memory/", "memory/export/?past=true")
    ]
    for address in (
        *of_run, f"executions/{execution.pk}/timeline/", "agents/", *of_agents, "approvals/",
    ):  # fmt: skip
        answer = client.get(f"/api/v1/{address}")
        assert answer.status_code == 200, address
        yield answer.getvalue().decode()


@pytest.fixture
def everything(
    make_api: Callable[..., Any],
    scene: Scene,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[WorkflowExecution], str]:
    """Return a function that gathers all that can be read after a run: rows, pages, API, logs."""
    caplog.set_level(logging.DEBUG)

    def gather(execution: WorkflowExecution) -> str:
        root = User.objects.create_superuser("root", "root@example.org")
        client = Client()
        client.force_login(root, "django.contrib.auth.backends.ModelBackend")
        said = [*pages(client, execution), *answers(make_api(scene.users["admin"]), execution)]
        call_command("dumpdata", "agents", "approvals", "workflows")
        return "\n".join((*said, caplog.text, *capsys.readouterr()))

    return gather


def test_no_key_is_found_after_agents_that_failed_and_then_answered(
    run: Callable[[], WorkflowExecution],
    model: ModelServer,
    service: Receiver,
    scene: Scene,
    client_for: Callable[[str], Client],
    everything: Callable[[WorkflowExecution], str],
) -> None:
    model.faults = [500, "drop", *echo()]
    execution = run()
    assert statuses(execution)["gate"] == "waiting"
    assert (model.keys, len(service.received)) == ([KEY] * 4, 1)
    page = reverse("request", args=[request_of(execution).pk])
    said = everything(execution) + client_for("approver").get(page).content.decode()
    assert "My key is …" in said
    assert [secret for secret in (KEY, SECRET) if secret in said] == []


def test_no_key_is_found_after_agents_that_only_failed(
    run: Callable[[], WorkflowExecution],
    model: ModelServer,
    service: Receiver,
    everything: Callable[[WorkflowExecution], str],
) -> None:
    model.faults = [400] * 4
    service.answer = (422, {}, json.dumps({"detail": f"Not with {SECRET}"}).encode())
    execution = run()
    assert statuses(execution)["model"] == statuses(execution)["service"] == "failed"
    said = everything(execution)
    assert "Not now, …" in said
    assert "Not with …" in said
    assert [secret for secret in (KEY, SECRET) if secret in said] == []
