"""Tools about workflows, their runs and the agents that work in them."""

from typing import Annotated, Any

from pydantic import Field

from mgx.mcp.rest import Caller
from mgx.mcp.tools import (
    Cursor,
    Id,
    IdempotencyKey,
    Limit,
    Tool,
    Workspace,
    given,
    next_cursor,
    page_url,
)

_MOST_STEPS = 200


class WhoAmI(Tool):
    """Whose token you act with, the workspaces and roles that come with it, and its scopes."""

    name_ = "who_am_i"

    async def answer(self, api: Caller) -> dict[str, Any]:
        return await api.get("me/")


class ListWorkflows(Tool):
    """The workflows of your workspaces, by name."""

    name_ = "list_workflows"
    named_here = {"q": "words"}

    words: Annotated[str | None, Field(description="To be found in names or descriptions")] = None
    workspace: Workspace = None
    limit: Limit = None
    cursor: Cursor = None

    async def answer(self, api: Caller) -> dict[str, Any]:
        page = await api.get("workflows/", **given(self, *type(self).model_fields))
        told = ("id", "name", "description", "workspace", "project", "published_version")
        rows = [{name: each[name] for name in told} for each in page["results"]]
        return {"workflows": rows, "next_cursor": next_cursor(page)}


class GetWorkflow(Tool):
    """What a workflow wants to be started with, and its steps: those of the published version."""

    name_ = "get_workflow"

    id: Id

    async def answer(self, api: Caller) -> dict[str, Any]:
        found = await api.get(f"workflows/{self.id}/")
        versions = (await api.get(f"workflows/{self.id}/versions/", limit=1))["results"]
        definition = versions[0]["definition"] if versions else {}
        of_steps = ("name", "step_type", "depends_on_steps")
        return {
            **{name: found[name] for name in ("id", "name", "description", "workspace")},
            "published_version": found["published_version"],
            "variables": definition.get("variables", []),
            "steps": [
                {name: step.get(name) for name in of_steps} for step in definition.get("steps", ())
            ],
        }


class StartWorkflow(Tool):
    """Start a run of a workflow's published version; `get_run` tells how it goes on."""

    name_ = "start_workflow"
    reads_only = False
    named_here = {"input_variables": "inputs"}

    workflow: Annotated[str, Field(description="Its id, or its name in the workspace")]
    inputs: Annotated[
        dict[str, Any] | None, Field(description="The variables that `get_workflow` tells of")
    ] = None
    workspace: Workspace = None
    project: Annotated[str | None, Field(description="The project's slug or id")] = None
    idempotency_key: IdempotencyKey = None

    async def answer(self, api: Caller) -> dict[str, Any]:
        names = set(type(self).model_fields) - {"idempotency_key"}
        body = given(self, *names)
        run = await api.post("executions/", body, idempotency_key=self.idempotency_key)
        return _run(run)


class GetRun(Tool):
    """A run: its status, its steps with their errors, the outputs, and what it waits for people to
    decide (`list_approvals` with `run` tells of all)."""

    name_ = "get_run"

    id: Id

    async def answer(self, api: Caller) -> dict[str, Any]:
        run = await api.get(f"executions/{self.id}/")
        steps = await api.get(f"executions/{self.id}/steps/", limit=_MOST_STEPS)
        waiting = await api.get("approvals/", workflow_execution=self.id, status="pending")
        of_steps = ("name", "step_type", "status", "attempts", "revision", "error_code")
        words = ("error_message", "skip_reason", "started_at", "completed_at")
        outcome = ("error_code", "error_message", "output_data", "results", "results_complete")
        return {
            **_run(run),
            **{name: run[name] for name in outcome},
            "steps": [
                {name: each[name] for name in (*of_steps, *words)} for each in steps["results"]
            ],
            "all_steps": steps["next"] is None,
            "waits_for": [
                {name: each[name] for name in ("id", "title", "missing")}
                | {"url": page_url("request", each["id"])}
                for each in waiting["results"]
            ],
        }


class ListAgents(Tool):
    """The agents of your workspaces, by name."""

    name_ = "list_agents"

    workspace: Workspace = None
    limit: Limit = None
    cursor: Cursor = None

    async def answer(self, api: Caller) -> dict[str, Any]:
        page = await api.get("agents/", **given(self, *type(self).model_fields))
        told = ("id", "name", "slug", "workspace", "definition", "status", "is_enabled")
        places = ("load", "max_concurrency")
        rows = [{name: each[name] for name in (*told, *places)} for each in page["results"]]
        return {"agents": rows, "next_cursor": next_cursor(page)}


def _run(run: dict[str, Any]) -> dict[str, Any]:
    told = ("id", "number", "workflow", "workflow_id", "version", "workspace", "status")
    when = ("created_at", "started_at", "completed_at")
    return {
        **{name: run[name] for name in (*told, *when)},
        "url": page_url("execution", run["id"]),
    }


TOOLS: tuple[type[Tool], ...] = (
    WhoAmI,
    ListWorkflows,
    GetWorkflow,
    StartWorkflow,
    GetRun,
    ListAgents,
)
