"""The OpenAPI document, and the page that shows it."""

from functools import cache

import pytest
from django.core.management import call_command
from django.test import Client

pytestmark = pytest.mark.django_db


@cache
def _schema():
    answer = Client().get("/api/v1/schema/")
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def schema():
    return _schema()


def _operations(schema):
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield path, method, operation


def test_it_is_valid_and_complete(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "s.yaml"))


def test_every_operation_tells_its_errors_as_problems(schema):
    for path, method, operation in _operations(schema):
        errors = {s: r for s, r in operation["responses"].items() if s >= "400"}
        needed = {"400", "401", "403", "404", "500", "503"}
        if method != "get":
            needed |= {"409", "413", "415", "422"}
        assert needed <= errors.keys(), (path, method)
        for status, response in errors.items():
            assert response["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }, (path, method, status)


def test_every_operation_says_what_it_does(schema):
    for path, method, operation in _operations(schema):
        assert operation.get("description"), (path, method)
        assert operation["security"], (path, method)


def test_what_takes_a_key_says_so(schema):
    takes = {
        path.removeprefix("/api/v1/")
        for path, _, operation in _operations(schema)
        if any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", ()))
    }
    assert {
        "executions/",
        "executions/batch/",
        "executions/{id}/cancel/",
        "executions/{id}/pause/",
        "executions/{id}/resume/",
        "executions/{id}/retry/",
        "executions/{id}/rerun/",
        "executions/{id}/signals/",
        "approvals/",
        "approvals/decisions/",
        "approvals/{id}/decisions/",
        "approvals/{id}/approve/",
        "approvals/{id}/reject/",
        "approvals/{id}/request-changes/",
        "approvals/{id}/retract/",
        "workflows/",
        "workflows/{id}/publish/",
    } <= takes


def test_lists_tell_their_parameters(schema):
    parameters = schema["paths"]["/api/v1/approvals/"]["get"]["parameters"]
    names = {parameter["name"] for parameter in parameters}
    assert names == {
        "assigned_to",
        "cursor",
        "decided_by",
        "due_after",
        "due_before",
        "limit",
        "ordering",
        "project",
        "q",
        "risk",
        "status",
        "workflow",
        "workflow_execution",
        "workspace",
    }


def test_the_docs_load_nothing_from_elsewhere(client):
    answer = client.get("/api/v1/docs/")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "http://" not in page
    assert "https://" not in page
    assert "<script>" not in page
    policy = answer["Content-Security-Policy"]
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    script = client.get("/api/v1/docs/?script=")
    assert script["Content-Type"] == "application/javascript"
    assert "/api/v1/schema/" in script.content.decode()
