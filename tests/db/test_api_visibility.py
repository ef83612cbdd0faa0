"""Nothing reveals what another workspace owns: every route of the API, every role, foreign ids.

The routes are read from the URL conf and the bodies from the schema, so that a new endpoint is
held to this as soon as it is there.
"""

import itertools
import re
import uuid
from functools import cache

import pytest
from django.urls import URLPattern
from django.urls.resolvers import RoutePattern
from drf_spectacular.generators import SchemaGenerator

from agents.models import AgentInstance
from approvals.models import WorkflowStepApproval
from mgx.api import urlpatterns
from tests.db.foreign_rows import FOREIGN, SECRET, fill_everything, models_with_ids
from workflows.models import Project, Workflow, Workspace

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise("P15 every route of the API with foreign ids, in each role"),
]

ROLES = ("viewer", "operator", "approver", "editor", "admin")
METHODS = ("get", "post", "put", "patch", "delete")
#: What every caller may see: the installation's, not a workspace's.
SHARED = {"agent-definitions/<uuid:id>/"}
ABOUT_THE_API = {"schema/", "docs/", "workflows/schema.json"}
#: What a body needs besides what the schema requires of it.
ALSO = {
    "approvals/<uuid:id>/decisions/": {"outcome": "approved"},
    "approvals/<uuid:id>/reject/": {"feedback": "No"},
    "approvals/<uuid:id>/request-changes/": {"feedback": "No"},
}


def _routes():
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        if not isinstance(pattern.pattern, RoutePattern):
            continue  # whatever is not listed
        for method in METHODS:
            if hasattr(pattern.callback.view_class, method):
                yield str(pattern.pattern), method


OBJECT_ROUTES = [
    (route, method) for route, method in _routes() if "<" in route and route not in SHARED
]
LIST_ROUTES = [
    route
    for route, method in _routes()
    if method == "get" and "<" not in route and route not in ABOUT_THE_API
]


@pytest.fixture
def foreign(make_member):
    """One row of each kind in the workspace ``secret``, all with the id ``FOREIGN``."""
    return fill_everything(make_member("outsider"), make_member("second"))


def _address(route, identifier=FOREIGN, slug="secret"):
    filled = route.replace("<slug:slug>", slug)
    filled = re.sub(r"<uuid:\w+>", str(identifier), filled)
    assert "<" not in filled, f"{route}: what may stand there?"
    return f"/api/v1/{filled}"


@cache
def _schema():
    return SchemaGenerator().get_schema(request=None, public=True)


def _body(route, method):
    """A body that would be accepted, were the thing the caller's own."""
    if method == "get":
        return None
    path = "/api/v1/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)
    content = _schema()["paths"][path][method].get("requestBody", {}).get("content", {})
    return {**_sample(content.get("application/json", {}).get("schema", {})), **ALSO.get(route, {})}


def _sample(schema):
    """Return the least that a schema takes."""
    if "$ref" in schema:
        return _sample(_schema()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    for word in ("allOf", "oneOf", "anyOf"):
        if word in schema:
            return _sample(schema[word][0])
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type", "object"):
        case "string":
            formats = {"uuid": str(FOREIGN), "date-time": "2100-01-01T00:00:00Z"}
            formats["uri"] = "https://hooks.example/"
            return formats.get(schema.get("format"), "x")
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [_sample(schema["items"])]
    return {name: _sample(schema["properties"][name]) for name in schema.get("required", ())}


def _state(foreign):
    return [type(row).objects.filter(pk=row.pk).values().get() for row in foreign.values()]


def test_there_is_a_row_of_each_kind_that_an_address_can_name(foreign):
    for model in models_with_ids():
        assert foreign[model].pk == FOREIGN
    assert len(OBJECT_ROUTES) > 25


@pytest.mark.parametrize("role", ROLES)
def test_a_foreign_id_is_404_and_nothing_happens(api, foreign, role):
    before = _state(foreign)
    client = api(role)
    for route, method in OBJECT_ROUTES:
        where, body = (method, route), _body(route, method)
        answer = getattr(client, method)(_address(route), body, format="json")
        assert answer.status_code == 404, (where, body, answer.content)
        assert SECRET.encode() not in answer.content, where
        unknown = _address(route, uuid.uuid4(), "nowhere")
        same = getattr(client, method)(unknown, body, format="json")
        ours, theirs = answer.json(), same.json()
        for document in (ours, theirs):
            del document["request_id"]
        assert str(ours).replace("secret", "nowhere") == str(theirs), where
    assert _state(foreign) == before


@pytest.mark.parametrize("route", LIST_ROUTES)
def test_no_list_shows_what_is_foreign(api, foreign, workflow, route):
    client = api("admin")
    for query in ("", "?q=secret", "?workspace=secret", "?project=secret"):
        answer = client.get(f"/api/v1/{route}{query}")
        assert answer.status_code in (200, 404), (query, answer.content)
        text = answer.content.decode()
        assert str(FOREIGN) not in text, query
        assert SECRET not in text, query


def test_no_filter_finds_what_is_foreign(api, foreign, workflow):
    client = api("admin")
    for query in (
        f"executions/?workflow={FOREIGN}",
        f"executions/?workflow={SECRET}",
        f"executions/?project={FOREIGN}",
        f"approvals/?workflow_execution={FOREIGN}",
        f"approvals/?workflow={FOREIGN}",
        f"approvals/?workflow={SECRET}",
        "approvals/?decided_by=outsider",
        "approvals/?assigned_to=me",
        f"agents/?project={FOREIGN}",
    ):
        assert client.get(f"/api/v1/{query}").json()["results"] == [], query


@pytest.mark.parametrize("named_by", ["pk", "name"])
def test_nothing_foreign_can_be_named_in_a_body(api, foreign, workflow, named_by):
    client = api("admin")
    inputs = {"input_variables": {"task_description": "x"}}
    named = str(FOREIGN) if named_by == "pk" else foreign[Workflow].name
    project = str(FOREIGN) if named_by == "pk" else foreign[Project].slug
    task = {"name": "a", "step_type": "task", "config": {"task": "transform"}}
    cron = {"name": "n", "cron": "0 9 * * *"}
    for path, body in (
        ("executions/", {"workflow": named, **inputs}),
        ("executions/", {"workflow": named, "workspace": "secret", **inputs}),
        ("executions/", {"workflow": named, "workspace": "acme", **inputs}),
        ("executions/", {"workflow": "Deploy", "project": project, **inputs}),
        ("executions/batch/", {"workflow": named, "input_variables": [{}]}),
        ("schedules/", {"workflow": named, **cron}),
        ("schedules/", {"workflow": named, "workspace": "secret", **cron}),
        ("workflows/", {"workspace": "secret", "name": "n", "steps": [task]}),
        ("workflows/", {"project": project, "name": "n", "steps": [task]}),
        ("workflows/validate/", {"workspace": "secret", "name": "n", "steps": [task]}),
        ("workflows/import/", {"workspace": "secret", "text": "name: n"}),
        ("approvals/", {"workspace": "secret", "title": "x"}),
        ("approvals/", {"project": project, "title": "x"}),
    ):
        answer = client.post(f"/api/v1/{path}", body, format="json")
        assert answer.status_code == 404, (path, body, answer.content)
    decision = {"approval_id": str(FOREIGN), "outcome": "approved"}
    answer = client.post("/api/v1/approvals/decisions/", {"decisions": [decision]}, format="json")
    assert answer.json()["results"][0]["http_status"] == 404
    assert WorkflowStepApproval.objects.get().status == "pending"


def test_who_is_in_both_sees_both_and_each_apart(make_api, foreign, workflow, users):
    users["viewer"].memberships.create(workspace=foreign[Workspace], role="viewer")
    client = make_api(users["viewer"])
    names = {row["name"] for row in client.get("/api/v1/workflows/").json()["results"]}
    assert names == {"Deploy", SECRET}
    only = client.get("/api/v1/workflows/?workspace=secret").json()["results"]
    assert [row["name"] for row in only] == [SECRET]


def test_who_has_left_sees_nothing_any_more(api, workflow, users):
    users["viewer"].memberships.all().delete()
    assert api("viewer").get(f"/api/v1/workflows/{workflow.pk}/").status_code == 404
    assert api("viewer").get("/api/v1/workflows/").json()["results"] == []
    assert AgentInstance.objects.visible_to(users["viewer"]).count() == 0


def test_nobody_is_401_everywhere(client):
    for route, method in itertools.chain(OBJECT_ROUTES, ((r, "get") for r in LIST_ROUTES)):
        answer = getattr(client, method)(_address(route), content_type="application/json")
        assert answer.status_code == 401, (method, route)
