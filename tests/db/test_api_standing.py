"""Delegations, standing grants and questions over REST."""

from datetime import timedelta

import pytest

from approvals.models import Delegation, StandingGrant
from approvals.services.requests import create_approval_request
from workflows.clock import database_now

pytestmark = pytest.mark.django_db

API = "/api/v1"


@pytest.fixture
def asked(workspace, users):
    return create_approval_request(workspace=workspace, title="Buy it?", user=users["operator"])


def post(client, path, body=None, **headers):
    return client.post(f"{API}/{path}", body or {}, format="json", headers=headers)


def later(**distance):
    return (database_now() + timedelta(**distance)).isoformat()


# --- delegations --------------------------------------------------------------------------


def test_who_leaves_lets_another_decide_until_they_are_back(api, users, asked):
    body = {"to": "editor", "ends_at": later(days=7), "reason": "On leave"}
    made = post(api("approver"), "delegations/", body)
    assert made.status_code == 201
    shown = made.json()
    assert (shown["delegator"], shown["delegate"], shown["reason"]) == (
        "user123",
        "editor",
        "On leave",
    )
    assert api("viewer").get(made["Location"]).json() == shown
    listed = api("viewer").get(f"{API}/delegations/?delegate=editor&is_lasting=true").json()
    assert [each["id"] for each in listed["results"]] == [shown["id"]]
    ended = post(api("approver"), f"delegations/{shown['id']}/revoke/")
    assert (ended.status_code, ended.json()["revoked_at"] is not None) == (200, True)
    listed = api("viewer").get(f"{API}/delegations/?is_lasting=true").json()
    assert listed["results"] == []
    assert len(api("viewer").get(f"{API}/delegations/?is_lasting=false").json()["results"]) == 1


def test_one_request_is_handed_to_another(api, users, asked):
    made = post(api("approver"), f"approvals/{asked.pk}/delegate/", {"to": "editor"})
    assert (made.status_code, made.json()["approval_id"]) == (201, str(asked.pk))
    again = post(api("approver"), f"approvals/{asked.pk}/delegate/", {"to": "editor"})
    assert again.json()["id"] == made.json()["id"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/to", "/ends_at"}),
        ({"to": "editor", "ends_at": "tomorrow"}, {"/ends_at"}),
        ({"to": "nobody", "ends_at": "9999-12-31T23:59:59-12:00"}, {"/ends_at"}),
        ({"to": "nobody", "ends_at": "2001-01-01T00:00:00Z"}, {"/to", "/ends_at"}),
        (
            {"to": "editor", "starts_at": "9998-01-01T00:00Z", "ends_at": "9998-01-02T00:00Z"},
            {"/starts_at"},
        ),
        ({"to": "editor", "ends_at": "2001-01-01T00:00Z", "delegator": "admin"}, {"/delegator"}),
    ],
)
def test_a_delegation_that_cannot_be_says_where_it_is_wrong(api, asked, body, pointers):
    refused = post(api("approver"), "delegations/", body)
    assert refused.status_code == 400
    assert {each["pointer"] for each in refused.json()["errors"]} == pointers
    assert not Delegation.objects.exists()


def test_who_may_not_decide_has_nothing_to_delegate(api, asked):
    body = {"to": "editor", "ends_at": later(days=7)}
    assert post(api("operator"), "delegations/", body).status_code == 403
    refused = post(api("operator"), f"approvals/{asked.pk}/delegate/", {"to": "editor"})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_an_approver")


def test_a_token_needs_the_scope_to_decide(make_api, users, workflow, asked):
    client = make_api(users["approver"], ["read", "write"])
    grant = {"workflow": "Deploy", "max_uses": 1, "expires_at": later(days=1)}
    for path, body in (
        ("delegations/", {"to": "editor", "ends_at": later(days=7)}),
        (f"approvals/{asked.pk}/delegate/", {"to": "editor"}),
        ("grants/", grant),
    ):
        refused = post(client, path, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


# --- grants -------------------------------------------------------------------------------


def test_an_approver_approves_ahead_and_takes_it_back(api, workflow):
    body = {
        "workflow": "Deploy",
        "step_name": "approval_gate",
        "predicate": 'risk == "low"',
        "note": "Small ones",
        "max_uses": 3,
        "expires_at": later(days=1),
    }
    made = post(api("approver"), "grants/", body, **{"Idempotency-Key": "one"})
    assert made.status_code == 201
    shown = made.json()
    assert {key: shown[key] for key in body if key != "expires_at"} == {
        key: body[key] for key in body if key != "expires_at"
    }
    assert (shown["granted_by"], shown["uses"]) == ("user123", 0)
    again = post(api("approver"), "grants/", body, **{"Idempotency-Key": "one"})
    assert (again.json(), StandingGrant.objects.count()) == (shown, 1)
    assert api("viewer").get(made["Location"]).json() == shown
    for question in ("is_live=true", f"workflow={workflow.pk}", "workflow=Deploy", "q=small"):
        listed = api("viewer").get(f"{API}/grants/?{question}").json()["results"]
        assert [each["id"] for each in listed] == [shown["id"]]
    assert post(api("editor"), f"grants/{shown['id']}/revoke/").status_code == 403
    assert post(api("approver"), f"grants/{shown['id']}/revoke/").json()["revoked_at"]
    assert api("viewer").get(f"{API}/grants/?is_live=true").json()["results"] == []


def test_a_grant_that_cannot_be_says_where_it_is_wrong(api, workflow):
    body = {
        "workflow": str(workflow.pk),
        "step_name": "generate_plan",
        "predicate": "amount > 1",
        "max_uses": 0,
        "expires_at": "2001-01-01T00:00:00Z",
    }
    refused = post(api("approver"), "grants/", body)
    assert refused.status_code == 400
    assert {(each["pointer"], each["code"]) for each in refused.json()["errors"]} == {
        ("/step_name", "unknown_step"),
        ("/predicate", "undeclared_variable"),
        ("/max_uses", "out_of_range"),
        ("/expires_at", "out_of_range"),
    }
    for unknown in ({"workflow": "Nothing"}, {"workflow": str(workflow.pk), "workspace": "globex"}):
        assert post(api("approver"), "grants/", {**body, **unknown}).status_code == 404
    assert not StandingGrant.objects.exists()


# --- questions ----------------------------------------------------------------------------


def test_a_question_is_asked_and_answered(api, asked):
    made = post(api("approver"), f"approvals/{asked.pk}/questions/", {"body": "For whom?"})
    assert made.status_code == 201
    assert (made.json()["asked_by"], made.json()["answer"]) == ("user123", "")
    assert api("viewer").get(f"{API}/approvals/{asked.pk}/").json()["clock_stopped_at"]
    answer = f"questions/{made.json()['id']}/answer/"
    assert post(api("viewer"), answer, {"body": "Me"}).status_code == 403
    answered = post(api("operator"), answer, {"body": "For everybody"})
    assert (answered.status_code, answered.json()["answered_by"]) == (200, "operator")
    refused = post(api("operator"), answer, {"body": "No, for me"})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_answered")
    assert (refused.json()["answered_by"], "answered_at" in refused.json()) == ("operator", True)
    [listed] = api("viewer").get(f"{API}/approvals/{asked.pk}/questions/").json()["results"]
    assert listed == answered.json()
    assert api("viewer").get(f"{API}/approvals/{asked.pk}/").json()["clock_stopped_at"] is None


@pytest.mark.parametrize("body", [{}, {"body": " "}, {"body": "x" * 10_001}, {"body": 5}])
def test_a_question_needs_a_text(api, asked, body):
    refused = post(api("approver"), f"approvals/{asked.pk}/questions/", body)
    assert refused.status_code == 400
    assert [each["pointer"] for each in refused.json()["errors"]] == ["/body"]


def test_only_who_may_decide_asks(api, asked):
    refused = post(api("operator"), f"approvals/{asked.pk}/questions/", {"body": "Why?"})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_an_approver")
