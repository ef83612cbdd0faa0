"""Schedules in the admin: saved by the service, whose refusals the form shows."""

import pytest
from admin_addresses import add_page_of, list_of, page_of, posted_by

from workflows.models import Timer, WorkflowSchedule
from workflows.services.definitions import change_draft, publish
from workflows.services.schedules import create_schedule

pytestmark = pytest.mark.django_db


@pytest.fixture
def nightly(workflow, users):
    return create_schedule(
        workflow,
        user=users["admin"],
        name="Nightly",
        cron="0 2 * * *",
        input_variables={"task_description": "Release"},
    )


def test_an_editor_makes_one(staff, workflow, users):
    client = staff("editor")
    data = posted_by(client.get(add_page_of(WorkflowSchedule))) | {
        "workflow": str(workflow.pk),
        "name": "Nightly",
        "cron": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "input_variables": '{"task_description": "Release"}',
    }
    answer = client.post(add_page_of(WorkflowSchedule), data)
    assert answer.status_code == 302, answer.context["errors"]
    made = WorkflowSchedule.objects.get()
    assert (made.timezone, made.created_by) == ("Europe/Berlin", users["editor"])
    assert Timer.objects.get(subject_id=made.pk).due_at == made.next_at
    assert b"Nightly" in client.get(list_of(WorkflowSchedule)).content


def test_the_form_shows_where_it_is_wrong(staff, nightly):
    client = staff("editor")
    page = client.get(page_of(nightly))
    data = posted_by(page) | {"cron": "99 * * * *", "input_variables": '{"x": 1}'}
    answer = client.post(page_of(nightly), data)
    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == {"cron", "input_variables"}
    nightly.refresh_from_db()
    assert nightly.cron == "0 2 * * *"


def test_switching_it_off_and_on_again_changes_who_answers_for_it(staff, nightly, users):
    client = staff("editor")
    data = posted_by(client.get(page_of(nightly)))
    off = {key: value for key, value in data.items() if key != "is_active"}
    assert client.post(page_of(nightly), off).status_code == 302
    assert not Timer.objects.exists()
    assert client.post(page_of(nightly), data).status_code == 302
    nightly.refresh_from_db()
    assert (nightly.is_active, nightly.created_by) == (True, users["editor"])


def test_one_whose_inputs_no_longer_fit_is_switched_off(staff, nightly, workflow, users):
    needed = [{"name": "task_description", "is_required": True}, {"name": "x", "is_required": True}]
    change_draft(workflow, {"variables": needed}, user=users["editor"])
    publish(workflow, user=users["editor"])
    client = staff("editor")
    data = posted_by(client.get(page_of(nightly)))
    assert client.post(page_of(nightly), data | {"name": "Monthly"}).status_code == 200
    del data["is_active"]
    assert client.post(page_of(nightly), data).status_code == 302
    assert not Timer.objects.exists()


def test_deleting_it_deletes_its_timer(staff, nightly):
    client = staff("editor")
    assert client.post(page_of(nightly, "delete"), {"post": "yes"}).status_code == 302
    assert not WorkflowSchedule.objects.exists()
    assert not Timer.objects.exists()


@pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
def test_below_an_editor_it_is_read_only(staff, nightly, role):
    client = staff(role)
    assert client.get(page_of(nightly)).status_code == 200
    assert client.post(page_of(nightly), {"name": "Mine"}).status_code == 403
    assert client.get(add_page_of(WorkflowSchedule)).status_code == 403


def test_a_foreign_workflow_cannot_be_named(stranger, workflow):
    data = posted_by(stranger.get(add_page_of(WorkflowSchedule))) | {
        "workflow": str(workflow.pk),
        "name": "Mine",
        "cron": "0 2 * * *",
        "timezone": "UTC",
    }
    answer = stranger.post(add_page_of(WorkflowSchedule), data)
    assert "workflow" in answer.context["adminform"].form.errors
    assert not WorkflowSchedule.objects.exists()
