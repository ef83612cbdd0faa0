"""What every tier shares: a workspace with a member of each role, and clients that act as them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

EXAMPLE_DEFINITION: dict[str, Any] = {
    "name": "Deploy",
    "variables": [{"name": "task_description", "data_type": "string", "is_required": True}],
    "steps": [
        {
            "name": "generate_plan",
            "step_type": "agent",
            "agent_definition_id": "planner_agent_id",
            "step_order": 1,
            "config": {"inputs": {"task": "${task_description}"}},
        },
        {
            "name": "approval_gate",
            "step_type": "approval",
            "step_order": 2,
            "depends_on_steps": ["generate_plan"],
            "config": {
                "approval": {
                    "title": "Approve Deployment Plan",
                    "description": "Review the generated deployment plan",
                    "auto_approve_after_seconds": 3600,
                    "required_approvers": ["user123"],
                    "expires_after_seconds": 86400,
                }
            },
        },
        {
            "name": "execute_plan",
            "step_type": "agent",
            "agent_definition_id": "executor_agent_id",
            "step_order": 3,
            "depends_on_steps": ["approval_gate"],
            "config": {"inputs": {"plan": "steps.generate_plan.result"}},
        },
    ],
}


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Put SQLite's test database into a file: WAL and threads work as they do in use."""
    from django.db import connection

    if connection.vendor == "sqlite":
        directory: Path = tmp_path_factory.mktemp("database")
        connection.settings_dict["TEST"]["NAME"] = str(directory / "test.sqlite3")
    request.getfixturevalue("django_db_modify_db_settings_parallel_suffix")


@pytest.fixture(autouse=True)
def _uncollected_static_files(settings: Any) -> None:
    """Let pages name static files that nobody has collected."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def make_workspace(db: None) -> Callable[..., Any]:
    """Return a function that makes a workspace: ``make_workspace("acme")``."""
    from workflows.services.access import create_workspace

    def make(slug: str) -> Any:
        return create_workspace(name=slug.capitalize(), slug=slug)

    return make


@pytest.fixture
def make_member(db: None) -> Callable[..., Any]:
    """Return a function that makes a user: ``make_member("anna", workspace, "approver")``."""
    from workflows.models import Membership, User

    def make(username: str, workspace: Any = None, role: str = "viewer") -> Any:
        user = User.objects.create_user(username, email=f"{username}@example.org")
        if workspace is not None:
            Membership.objects.create(workspace=workspace, user=user, role=role)
        return user

    return make


@pytest.fixture
def workspace(make_workspace: Callable[..., Any]) -> Any:
    return make_workspace("acme")


@pytest.fixture
def other_workspace(make_workspace: Callable[..., Any]) -> Any:
    """A workspace that none of ``users`` is a member of."""
    return make_workspace("globex")


@pytest.fixture
def users(workspace: Any, make_member: Callable[..., Any]) -> dict[str, Any]:
    """A member of each role; the approver is the one whom the example names."""
    names = {"approver": "user123"}
    return {
        role: make_member(names.get(role, role), workspace, role)
        for role in ("viewer", "operator", "approver", "editor", "admin")
    }


@pytest.fixture
def outsider(other_workspace: Any, make_member: Callable[..., Any]) -> Any:
    """An admin of the other workspace."""
    return make_member("outsider", other_workspace, "admin")


@pytest.fixture
def make_api(db: None) -> Callable[..., Any]:
    """Return a function that makes an API client with a token: ``make_api(user, ["read"])``."""
    from rest_framework.test import APIClient

    from workflows.services.access import SCOPES, issue_token

    def make(user: Any, scopes: Any = SCOPES) -> APIClient:
        _, secret = issue_token(user, name="test", scopes=scopes)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return make


@pytest.fixture
def api(users: dict[str, Any], make_api: Callable[..., Any]) -> Callable[[str], Any]:
    """Return a function from a role to an API client with a token of all scopes."""
    clients: dict[str, Any] = {}

    def client(role: str) -> Any:
        if role not in clients:
            clients[role] = make_api(users[role])
        return clients[role]

    return client


@pytest.fixture
def client_for(users: dict[str, Any]) -> Callable[[str], Client]:
    """Return a function from a role to a signed-in browser-like client."""

    def client(role: str) -> Client:
        signed_in = Client()
        signed_in.force_login(users[role], "django.contrib.auth.backends.ModelBackend")
        return signed_in

    return client


@pytest.fixture
def make_agents(db: None) -> Callable[[Any], dict[str, Any]]:
    """Return a function that gives a workspace the example's planner and executor."""
    from agents.models import AgentDefinition, AgentInstance, AgentType

    def make(workspace: Any) -> dict[str, Any]:
        instances = {}
        for slug in ("planner_agent_id", "executor_agent_id"):
            name = slug.removesuffix("_agent_id")
            definition, _ = AgentDefinition.objects.get_or_create(
                slug=slug,
                defaults={
                    "name": name.capitalize(),
                    "agent_type": AgentType.DEMO,
                    "config": {"part": name},
                },
            )
            instances[name] = AgentInstance.objects.create(
                workspace=workspace, definition=definition, name=definition.name, slug=name
            )
        return instances

    return make


@pytest.fixture
def agents(workspace: Any, make_agents: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    return make_agents(workspace)


@pytest.fixture
def example_definition() -> dict[str, Any]:
    """The mission's own example, as a document that may be changed."""
    return copy.deepcopy(EXAMPLE_DEFINITION)


@pytest.fixture
def workflow(
    workspace: Any, users: dict[str, Any], agents: Any, example_definition: dict[str, Any]
) -> Any:
    """The example, published."""
    from workflows.services.definitions import create_workflow

    return create_workflow(workspace=workspace, document=example_definition, user=users["editor"])
