"""What the API refuses, and how it says so."""

import json
import re
import uuid

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client
from rest_framework.test import APIClient

from mgx.api import urlpatterns
from workflows.api import accounts
from workflows.models import Workflow, WorkflowExecution

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise("P16 bad calls over REST"),
]

NO_WORKFLOW = "/api/v1/workflows/00000000-0000-0000-0000-000000000000/"


def problem(response, status, code):
    """Check that an answer is a problem of this status and code, and return it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document = json.loads(response.content)
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:mgx:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert isinstance(document["errors"], list)
    assert document["request_id"] == response["X-Request-ID"]
    return document


def send(client, body, path="/api/v1/executions/", content_type="application/json", **extra):
    body = body.encode() if isinstance(body, str) else body
    return client.generic("POST", path, body, content_type=content_type, **extra)


class TestWho:
    def test_nobody_is_401_with_a_challenge(self):
        response = APIClient().get("/api/v1/me/")
        problem(response, 401, "not_authenticated")
        assert response["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("header", ["Bearer mgx_wrong", "Bearer", "bearer x y", "Bearer \xfc"])
    def test_a_wrong_token_is_401_also_beside_a_session(self, client_for, header):
        response = client_for("viewer").get("/api/v1/me/", HTTP_AUTHORIZATION=header)
        problem(response, 401, "authentication_failed")

    def test_a_deactivated_user_is_401(self, api, users):
        client = api("approver")
        users["approver"].is_active = False
        users["approver"].save()
        problem(client.get("/api/v1/me/"), 401, "authentication_failed")

    def test_a_session_reads_without_and_writes_with_the_csrf_token(self, users):
        client = Client(enforce_csrf_checks=True)
        client.force_login(users["viewer"], "django.contrib.auth.backends.ModelBackend")
        assert client.get("/api/v1/me/").status_code == 200
        problem(send(client, "{}"), 403, "csrf_failed")
        token = client.cookies["csrftoken"] = "x" * 32
        problem(send(client, "{}", HTTP_X_CSRFTOKEN=token), 400, "invalid")

    def test_a_token_needs_the_scope(self, make_api, users):
        reader = make_api(users["admin"], ["read"])
        assert reader.get("/api/v1/me/").status_code == 200
        document = problem(send(reader, "{}"), 403, "insufficient_scope")
        assert document["scope"] == "write"
        decisions = f"{NO_WORKFLOW.replace('workflows', 'approvals')}approve/"
        writer = make_api(users["admin"], ["read", "write"])
        assert problem(send(writer, "{}", decisions), 403, "insufficient_scope")
        decider = make_api(users["admin"], ["decide"])
        problem(send(decider, "{}", decisions), 404, "not_found")
        problem(decider.get("/api/v1/me/"), 403, "insufficient_scope")


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ('{"a": 1, "a": 2}', "duplicate_key"),
            ('{"a": NaN}', "not_a_number"),
            ('{"a": Infinity}', "not_a_number"),
            ('{"a": 1e400}', "number_out_of_range"),
            ('{"a": %s}' % ("9" * 5000), "number_out_of_range"),
            ('{"a": "\\u0000"}', "nul_character"),
            ('{"\\u0000": 1}', "nul_character"),
            ('{"a": "\\ud800"}', "lone_surrogate"),
            ("[" * 100 + "]" * 100, "too_deep"),
            ("[" * 1_000 + "]" * 1_000, "too_deep"),
            ('{"a":' * 100_000, "too_deep"),
            (b'{"a": "\xff"}', "not_utf8"),
            ('{"a": 1}'.encode("utf-16"), "not_utf8"),
            (b"\xef\xbb\xbf{}", "byte_order_mark"),
            ("{", "not_json"),
            ("{'a': 1}", "not_json"),
            ("[]", "not_an_object"),
            ('"text"', "not_an_object"),
            ("null", "not_an_object"),
            ("5", "not_an_object"),
            ("true", "not_an_object"),
        ],
    )
    def test_what_cannot_be_understood_is_400(self, api, body, code):
        for path in ("executions/", "workflows/", "tokens/", "approvals/", "workflows/import/"):
            problem(send(api("admin"), body, f"/api/v1/{path}"), 400, code)

    def test_a_long_body_is_413(self, api):
        body = json.dumps({"x": "y" * 10_000_000})
        for path in ("executions/", "workflows/import/"):
            problem(send(api("admin"), body, f"/api/v1/{path}"), 413, "body_too_large")

    @pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "GZIP"])
    def test_a_compressed_body_is_415(self, api, encoding):
        response = send(api("admin"), b"\x1f\x8b", HTTP_CONTENT_ENCODING=encoding)
        problem(response, 415, "unsupported_content_encoding")

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
    )
    def test_another_type_is_415(self, api, client_for, kind):
        problem(send(api("admin"), "a=b", content_type=kind), 415, "unsupported_media_type")

    @pytest.mark.parametrize("key", ["status", "approved_by", "workspace_id", "id", "number"])
    def test_a_key_that_is_not_to_be_set_is_refused_by_name(self, api, workflow, key):
        body = {"workflow": str(workflow.id), "input_variables": {"task_description": "x"}, key: 1}
        document = problem(send(api("operator"), json.dumps(body)), 400, "invalid")
        assert [error["pointer"] for error in document["errors"]] == [f"/{key}"]
        assert document["errors"][0]["code"] == "unknown_field"
        assert not WorkflowExecution.objects.exists()

    @pytest.mark.parametrize(
        ("field", "value"),
        [("workflow", 5), ("workflow", None), ("input_variables", []), ("workspace", True)],
    )
    def test_a_value_of_another_type_is_not_converted(self, api, workflow, field, value):
        body = {"workflow": "Deploy", "workspace": "acme", field: value}
        document = problem(send(api("operator"), json.dumps(body)), 400, "invalid")
        assert [error["pointer"] for error in document["errors"]] == [f"/{field}"]


class TestAddresses:
    @pytest.mark.parametrize(
        "path",
        [
            "",
            "nothing/",
            "me",
            "workflows/..%2f..%2fetc/",
            "workflows/%2e%2e/",
            "workflows/' OR 1/",
            "workflows/5/",
            "workflows/00000000-0000-0000-0000-00000000000/",
            "workspaces/%00/",
            "x" * 5000,
        ],
    )
    @pytest.mark.parametrize("method", ["get", "post", "delete"])
    def test_an_unknown_one_is_404(self, api, path, method):
        problem(getattr(api("admin"), method)(f"/api/v1/{path}"), 404, "not_found")

    def test_another_verb_is_405_and_says_which_there_are(self, api):
        for path, method in (("me/", "delete"), ("workspaces/", "post"), ("executions/", "put")):
            response = getattr(api("admin"), method)(f"/api/v1/{path}")
            problem(response, 405, "method_not_allowed")
            assert "GET" in response["Allow"]

    def test_no_address_has_more_verbs_than_it_lists(self, api):
        for pattern in urlpatterns[:-1]:
            path = re.sub(r"<uuid:id>", str(uuid.uuid4()), str(pattern.pattern))
            path = path.replace("<slug:slug>", "acme")
            for method in ("OPTIONS", "TRACE", "PROPFIND"):
                response = api("admin").generic(method, f"/api/v1/{path}", "{}")
                assert response.status_code == 405, (method, path)

    def test_nothing_is_decided_by_get(self, api):
        path = NO_WORKFLOW.replace("workflows", "approvals")
        problem(api("admin").get(f"{path}approve/"), 405, "method_not_allowed")

    @pytest.mark.parametrize("query", ["q=%00", "workspace=a%00b", "%00=1", "status=%00"])
    def test_nul_in_a_parameter_is_400(self, api, query):
        problem(api("admin").get(f"/api/v1/executions/?{query}"), 400, "nul_character")

    @pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense"])
    def test_the_answer_is_json_whatever_is_asked_for(self, api, accept):
        response = api("admin").get("/api/v1/me/?format=xml", HTTP_ACCEPT=accept)
        assert response["Content-Type"] == "application/json"


class TestRequestId:
    def test_a_sane_one_is_echoed(self, api):
        response = api("viewer").get("/api/v1/me/", HTTP_X_REQUEST_ID="job-7.retry:2")
        assert response["X-Request-ID"] == "job-7.retry:2"

    @pytest.mark.parametrize("wrong", ["", "a b", "x" * 101, "<b>", "a\r\nSet-Cookie: x=1", "é"])
    def test_another_is_replaced(self, api, wrong):
        response = api("viewer").get("/api/v1/me/", HTTP_X_REQUEST_ID=wrong)
        assert response["X-Request-ID"] != wrong
        assert len(response["X-Request-ID"]) == 36


class TestFaults:
    @pytest.fixture
    def broken(self, monkeypatch, api):
        def set_error(error):
            def fail(view, request):
                raise error

            monkeypatch.setattr(accounts.Me, "get", fail)
            client = api("viewer")
            client.raise_request_exception = False
            return client

        return set_error

    def test_an_unexpected_error_is_500_and_keeps_its_text_to_itself(self, broken, caplog):
        response = broken(RuntimeError("secret-detail")).get("/api/v1/me/")
        document = problem(response, 500, "internal_error")
        assert "secret-detail" not in response.content.decode()
        assert document["request_id"] in caplog.text
        assert "secret-detail" in caplog.text

    @pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
    def test_a_database_that_is_away_is_503_with_retry_after(self, broken, kind):
        response = broken(kind("server closed the connection; host=db")).get("/api/v1/me/")
        problem(response, 503, "database_unavailable")
        assert int(response["Retry-After"]) >= 1
        assert b"host=db" not in response.content

    def test_outside_the_views_too(self, api, monkeypatch):
        from workflows.api import base

        def fail(*args):
            raise OperationalError("away")

        monkeypatch.setattr(base.ApiView, "initialize_request", fail)
        client = api("viewer")
        client.raise_request_exception = False
        response = client.get("/api/v1/me/")
        problem(response, 503, "database_unavailable")


def test_nothing_is_stored_by_any_of_this(api):
    send(api("admin"), '{"name": "x", "steps": []}', "/api/v1/workflows/")
    assert not Workflow.objects.exists()
