"""The demo workspace: its people, its agents, and the example workflow with one run.

Everything is made once; what is there already stays as it is.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password

from agents.memory import store_memory
from agents.models import AgentDefinition, AgentInstance, AgentType
from agents.services.handoff import handoff_context
from mgx.checks import is_loopback
from workflows.models import Membership, Role, User, Workflow, WorkflowExecution, Workspace
from workflows.services.access import SCOPES, create_workspace, find_token, issue_token
from workflows.services.definitions import create_workflow
from workflows.services.executions import start_execution

SLUG = "demo"
#: Role → username; the approver's stands in the example.
USERNAMES = {"admin": "admin", "approver": "user123", "operator": "operator", "viewer": "viewer"}
#: Those who may sign in to the admin.
_STAFF = ("admin", "approver")

EXAMPLE: dict[str, Any] = {
    "name": "Deployment",
    "description": "An agent plans a deployment, a person approves it, an agent carries it out.",
    "variables": [
        {
            "name": "task_description",
            "data_type": "string",
            "is_required": True,
            "description": "What is to be deployed, in a sentence.",
        }
    ],
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
_REMEMBERED = "release/conventions"
_CONVENTIONS = {
    "first_stage_percent": 10,
    "rollback": "automatic",
    "learned": "Reviewers ask for a longer wait after the first stage.",
}
_TASK = "Deploy version 2.4 of the billing service to production"


@dataclass(slots=True)
class Demo:
    """What was made or found: ``credentials`` by role, as ``var/demo.json`` keeps them."""

    execution: WorkflowExecution
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)


def why_not_here() -> str:
    """Return why this installation must not have users with known passwords, "" if it may."""
    foreign = [host for host in settings.ALLOWED_HOSTS if not is_loopback(host)]
    if foreign:
        return f"ALLOWED_HOSTS has {', '.join(foreign)}: others than this machine can reach it"
    if settings.SECURE_SSL_REDIRECT:
        return "MGX_HTTPS is on: this is set up for production"
    return ""


def make_demo(path: Path, url: str) -> Demo:
    """Make what is missing, write ``path`` for programs, and return the demo.

    ``url`` is where the web server is reached.
    """
    known = _read(path)
    workspace = Workspace.objects.filter(slug=SLUG).first() or create_workspace(
        name="Demo", slug=SLUG
    )
    users = {role: _make_user(workspace, role) for role in USERNAMES}
    _make_agents(workspace)
    execution = _make_execution(_make_workflow(workspace))
    # Passwords come last: each takes a third of a second, and the agent is at work already.
    credentials = {
        role: _make_credentials(user, known.get(role, {})) for role, user in users.items()
    }
    document = {"url": url, "workspace": SLUG, "users": credentials}
    _write(path, json.dumps(document, indent=2) + "\n")
    return Demo(execution, credentials)


def _make_user(workspace: Workspace, role: str) -> User:
    user, _ = User.objects.get_or_create(
        username=USERNAMES[role],
        defaults={
            "password": make_password(None),
            "is_staff": role in _STAFF,
            "is_superuser": role == "admin",
        },
    )
    Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": Role(role)})
    return user


def _make_credentials(user: User, known: dict[str, str]) -> dict[str, str]:
    """Return a password and a token of ``user``; ``known`` ones are kept as long as they last."""
    password = known.get("password", "")
    if not password or not user.has_usable_password():
        password = secrets.token_urlsafe(12)
        user.set_password(password)
        user.save(update_fields=["password"])
    token = known.get("token", "")
    if not token or find_token(token) is None:
        _, token = issue_token(user, name="Demo", scopes=SCOPES)
    return {"username": user.username, "password": password, "token": token}


def _make_agents(workspace: Workspace) -> None:
    are_first = not workspace.agents.exists()
    for part, name, does in (
        ("planner", "Planner", "Writes a deployment plan."),
        ("executor", "Executor", "Carries out a plan."),
    ):
        definition, _ = AgentDefinition.objects.get_or_create(
            slug=f"{part}_agent_id",
            defaults={
                "name": name,
                "agent_type": AgentType.DEMO,
                "description": does,
                "capabilities": [part],
                "config": {"part": part},
            },
        )
        for slug, called in ((part, name), (f"{part}-2", f"Second {part}")):
            AgentInstance.objects.get_or_create(
                workspace=workspace,
                slug=slug,
                defaults={"definition": definition, "name": called, "max_concurrency": 10},
            )
    if are_first:
        _make_memory(workspace)


def _make_memory(workspace: Workspace) -> None:
    """Let the planner remember something, and hand it on to the executor."""
    agents = dict(workspace.agents.values_list("slug", "pk"))
    store_memory(agents["planner"], workspace.pk, _REMEMBERED, _CONVENTIONS)
    handoff_context(agents["planner"], agents["executor"], context_keys=[_REMEMBERED])


def _make_workflow(workspace: Workspace) -> Workflow:
    found: Workflow | None = workspace.workflows.filter(name=EXAMPLE["name"]).first()
    if found is not None and found.published_version_id is not None:
        return found
    return create_workflow(workspace=workspace, document=EXAMPLE, user=_user("admin"))


def _make_execution(workflow: Workflow) -> WorkflowExecution:
    """Return the newest run that has not ended, or a new one."""
    live = workflow.executions.live().order_by("-number").first()
    return live or start_execution(
        workflow,
        input_variables={"task_description": _TASK},
        user=_user("operator"),
        door="system",
    )


def _user(role: str) -> User:
    return User.objects.get(username=USERNAMES[role])


def _read(path: Path) -> dict[str, Any]:
    try:
        users = json.loads(path.read_text("utf-8"))["users"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return users if isinstance(users, dict) else {}


def _write(path: Path, text: str) -> None:
    """Replace ``path`` in one step; only its owner may read it."""
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
