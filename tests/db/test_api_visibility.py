"""Nothing reveals what another workspace owns: every route, every role, foreign ids."""

import copy
import itertools
import re
import uuid

import pytest
from django.urls import URLPattern
from django.urls.resolvers import RoutePattern

from agents.models import AgentInstance
from approvals.models import WorkflowStepApproval
from mgx.api import urlpatterns
from workflows.clock import database_now
from workflows.models import ApiToken, Project, WorkflowExecution, WorkflowSchedule
from workflows.services.definitions import create_workflow

pytestmark = pytest.mark.django_db

ROLES = ("viewer", "operator", "approver", "editor", "admin")
#: What every caller may see: the installation's, not a workspace's.
SHARED = {"agent-definitions/<uuid:id>/"}
#: The word in a route before its id → the kind of thing that the id names.
KINDS = ("tokens", "projects", "workflows", "schedules", "executions", "approvals", "agents")


def _routes():
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        if not isinstance(pattern.pattern, RoutePattern):
            continue  # whatever is not listed
        route = str(pattern.pattern)
        view = pattern.callback.view_class
        for method in ("get", "post", "put", "patch", "delete"):
            if hasattr(view, method):
                yield route, method


def _with_id(route):
    return "<" in route and route not in SHARED


OBJECT_ROUTES = [(route, method) for route, method in _routes() if _with_id(route)]
ABOUT_THE_API = {"schema/", "docs/", "workflows/schema.json"}
LIST_ROUTES = [
    route
    for route, method in _routes()
    if method == "get" and "<" not in route and route not in ABOUT_THE_API
]


@pytest.fixture
def foreign(other_workspace, outsider, make_agents, example_definition):
    """One of each kind in the other workspace."""
    agents = make_agents(other_workspace)
    document = copy.deepcopy(example_definition)
    document["steps"][1]["config"]["approval"]["required_approvers"] = ["outsider"]
    document["name"] = "Secret"
    workflow = create_workflow(workspace=other_workspace, document=document, user=outsider)
    now = database_now()
    project = Project.objects.create(workspace=other_workspace, name="Secret", slug="secret")
    execution = WorkflowExecution.objects.create(
        workspace=other_workspace,
        workflow=workflow,
        version=workflow.published_version,
        number=1,
        project=project,
    )
    approval = WorkflowStepApproval.objects.create(
        workspace=other_workspace,
        workflow_execution=execution,
        title="Secret",
        digest="0" * 64,
        requested_at=now,
    )
    schedule = WorkflowSchedule.objects.create(workflow=workflow, name="Secret", cron="0 9 * * *")
    token = ApiToken.objects.create(user=outsider, name="Secret", prefix="x", digest="x")
    return {
        "tokens": token,
        "projects": project,
        "workflows": workflow,
        "schedules": schedule,
        "executions": execution,
        "approvals": approval,
        "agents": agents["planner"],
    }


def _address(route, foreign):
    kind = route.split("/")[0]
    if kind == "workspaces":
        return "/api/v1/" + route.replace("<slug:slug>", "globex")
    return "/api/v1/" + route.replace("<uuid:id>", str(foreign[kind].pk))


def _body(route, method):
    """A body that would be accepted, were the thing the caller's own."""
    if method == "get":
        return None
    if route.endswith("decisions/"):
        return {"outcome": "approved"}
    if route.endswith(("reject/", "request-changes/")):
        return {"feedback": "No"}
    if route.endswith("comments/"):
        return {"body": "Hm"}
    if route.endswith("signals/"):
        return {"name": "paid"}
    return {}


def test_every_route_with_an_id_is_in_the_matrix():
    assert {route.split("/")[0] for route, _ in OBJECT_ROUTES} == {*KINDS, "workspaces"}
    assert len(OBJECT_ROUTES) > 25


@pytest.mark.parametrize("role", ROLES)
def test_a_foreign_id_is_404_and_nothing_happens(api, foreign, role):
    before = _state(foreign)
    for route, method in OBJECT_ROUTES:
        where = (method, route)
        answer = getattr(api(role), method)(
            _address(route, foreign), _body(route, method), format="json"
        )
        assert answer.status_code == 404, (where, answer.content)
        assert b"Secret" not in answer.content, where
        unknown = re.sub(r"<uuid:id>", str(uuid.uuid4()), route).replace("<slug:slug>", "nowhere")
        same = getattr(api(role), method)(f"/api/v1/{unknown}", _body(route, method), format="json")
        assert same.status_code == 404, where
        ours, theirs = answer.json(), same.json()
        for document in (ours, theirs):
            del document["request_id"]
        assert str(ours).replace("globex", "nowhere") == str(theirs), where
    assert _state(foreign) == before


def _state(foreign):
    return [type(row).objects.filter(pk=row.pk).values().get() for row in foreign.values()]


@pytest.mark.parametrize("route", LIST_ROUTES)
def test_no_list_shows_what_is_foreign(api, foreign, workflow, route):
    for query in ("", "?q=secret", "?workspace=globex", "?project=secret"):
        answer = api("admin").get(f"/api/v1/{route}{query}")
        assert answer.status_code in (200, 404), (query, answer.content)
        text = answer.content.decode()
        for row in foreign.values():
            assert str(row.pk) not in text, query
        assert str(foreign["agents"].workspace_id) not in text, query


def test_no_filter_finds_what_is_foreign(api, foreign, workflow):
    client = api("admin")
    for query in (
        f"executions/?workflow={foreign['workflows'].pk}",
        "executions/?workflow=Secret",
        f"executions/?project={foreign['projects'].pk}",
        f"approvals/?workflow_execution={foreign['executions'].pk}",
        "approvals/?assigned_to=me",
        f"agents/?project={foreign['projects'].pk}",
    ):
        assert client.get(f"/api/v1/{query}").json()["results"] == [], query


@pytest.mark.parametrize("named_by", ["pk", "name"])
def test_nothing_foreign_can_be_named_in_a_body(api, foreign, workflow, named_by):
    client = api("admin")
    inputs = {"input_variables": {"task_description": "x"}}
    secret = foreign["workflows"]
    named = str(secret.pk) if named_by == "pk" else secret.name
    project = str(foreign["projects"].pk) if named_by == "pk" else "secret"
    task = {"name": "a", "step_type": "task", "config": {"task": "transform"}}
    for path, body in (
        ("executions/", {"workflow": named, **inputs}),
        ("executions/", {"workflow": named, "workspace": "globex", **inputs}),
        ("executions/", {"workflow": named, "workspace": "acme", **inputs}),
        ("executions/", {"workflow": "Deploy", "project": project, **inputs}),
        ("executions/batch/", {"workflow": named, "input_variables": [{}]}),
        ("schedules/", {"workflow": named, "name": "n", "cron": "0 9 * * *"}),
        (
            "schedules/",
            {"workflow": named, "workspace": "globex", "name": "n", "cron": "0 9 * * *"},
        ),
        ("workflows/", {"workspace": "globex", "name": "n", "steps": [task]}),
        ("workflows/", {"project": project, "name": "n", "steps": [task]}),
        ("workflows/validate/", {"workspace": "globex", "name": "n", "steps": [task]}),
        ("workflows/import/", {"workspace": "globex", "text": "name: n"}),
        ("approvals/", {"workspace": "globex", "title": "x"}),
        ("approvals/", {"project": project, "title": "x"}),
    ):
        answer = client.post(f"/api/v1/{path}", body, format="json")
        assert answer.status_code == 404, (path, body, answer.content)
    decision = {"approval_id": str(foreign["approvals"].pk), "outcome": "approved"}
    answer = client.post("/api/v1/approvals/decisions/", {"decisions": [decision]}, format="json")
    assert answer.json()["results"][0]["http_status"] == 404
    assert WorkflowStepApproval.objects.get().status == "pending"


def test_who_is_in_both_sees_both_and_each_apart(make_api, foreign, workflow, users):
    users["viewer"].memberships.create(workspace=foreign["agents"].workspace, role="viewer")
    client = make_api(users["viewer"])
    names = {row["name"] for row in client.get("/api/v1/workflows/").json()["results"]}
    assert names == {"Deploy", "Secret"}
    only = client.get("/api/v1/workflows/?workspace=globex").json()["results"]
    assert [row["name"] for row in only] == ["Secret"]


def test_who_has_left_sees_nothing_any_more(api, workflow, users):
    users["viewer"].memberships.all().delete()
    assert api("viewer").get(f"/api/v1/workflows/{workflow.pk}/").status_code == 404
    assert api("viewer").get("/api/v1/workflows/").json()["results"] == []
    assert AgentInstance.objects.visible_to(users["viewer"]).count() == 0


def test_nobody_is_401_everywhere(client, foreign):
    for route, method in itertools.chain(OBJECT_ROUTES, ((r, "get") for r in LIST_ROUTES)):
        address = _address(route, foreign) if "<" in route else f"/api/v1/{route}"
        answer = getattr(client, method)(address, content_type="application/json")
        assert answer.status_code == 401, (method, route)
