"""Schedules over the API."""

from typing import Any

import pytest

from workflows.models import Timer, WorkflowSchedule

pytestmark = pytest.mark.django_db
ADDRESS = "/api/v1/schedules/"


@pytest.fixture
def body(workflow: Any) -> dict[str, Any]:
    return {
        "workflow": "Deploy",
        "name": "Nightly",
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "input_variables": {"task_description": "Nightly release"},
    }


@pytest.fixture
def nightly(api: Any, body: dict[str, Any]) -> dict[str, Any]:
    answer = api("editor").post(ADDRESS, body, format="json")
    assert answer.status_code == 201, answer.content
    assert answer.headers["Location"].endswith(f"{ADDRESS}{answer.json()['id']}/")
    return answer.json()


def test_it_is_made_read_changed_and_deleted(api, nightly, body) -> None:
    client = api("editor")
    address = f"{ADDRESS}{nightly['id']}/"
    assert nightly | body == nightly
    assert (nightly["created_by"], nightly["is_active"]) == ("editor", True)
    assert nightly["next_at"] is not None
    assert api("viewer").get(address).json() == nightly
    changed = client.patch(address, {"cron": "0 4 * * *", "is_active": False}, format="json").json()
    assert (changed["cron"], changed["is_active"], changed["next_at"]) == ("0 4 * * *", False, None)
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404
    assert not Timer.objects.exists()


def test_they_are_listed_by_workspace_workflow_and_name(api, nightly, workflow) -> None:
    client = api("viewer")
    for query in (
        "",
        "?workspace=acme",
        f"?workflow={workflow.pk}",
        "?workflow=Deploy",
        "?q=night",
        "?is_active=true",
    ):
        [found] = client.get(ADDRESS + query).json()["results"]
        assert found == nightly, query
    for query in ("?workflow=Other", "?q=daily", "?is_active=false", "?workspace=globex"):
        assert client.get(ADDRESS + query).json()["results"] == [], query


def test_whoever_is_no_editor_may_only_read(api, nightly, body) -> None:
    address = f"{ADDRESS}{nightly['id']}/"
    client = api("approver")
    assert client.post(ADDRESS, body | {"name": "x"}, format="json").status_code == 403
    assert client.patch(address, {"cron": "0 4 * * *"}, format="json").status_code == 403
    assert client.delete(address).status_code == 403
    assert WorkflowSchedule.objects.get().cron == "30 2 * * *"


def test_everything_that_is_wrong_is_pointed_at(api, body) -> None:
    wrong = body | {
        "cron": "99 * * * *",
        "timezone": "Mars",
        "input_variables": {"task_description": 5, "x": 1},
    }
    answer = api("editor").post(ADDRESS, wrong, format="json")
    assert answer.status_code == 400
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/cron",
        "/timezone",
        "/input_variables/task_description",
        "/input_variables/x",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"next_at": "2026-01-01T00:00:00Z"},
        {"created_by": "admin"},
        {"cron": 5},
        {"is_active": "yes"},
        {"input_variables": []},
        {"name": ""},
    ],
)
def test_what_is_no_field_or_of_another_type_is_refused(api, nightly, fields) -> None:
    address = f"{ADDRESS}{nightly['id']}/"
    assert api("editor").patch(address, fields, format="json").status_code == 400


def test_a_name_that_is_taken_is_a_conflict(api, nightly, body) -> None:
    answer = api("editor").post(ADDRESS, body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_the_same_key_makes_it_once(api, body) -> None:
    client = api("editor")
    headers = {"Idempotency-Key": "once"}
    first = client.post(ADDRESS, body, format="json", headers=headers)
    second = client.post(ADDRESS, body, format="json", headers=headers)
    assert first.json() == second.json()
    assert WorkflowSchedule.objects.count() == 1
