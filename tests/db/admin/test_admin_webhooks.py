"""Webhooks in the admin: for admins of the workspace, saved by the service, secrets shown once."""

import pytest
from admin_addresses import add_page_of, list_of, messages_on, page_of, posted_by

from workflows.clock import database_now
from workflows.models import WebhookDelivery, WebhookEndpoint
from workflows.services import webhooks

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(workspace, users):
    return webhooks.create_endpoint(workspace, user=users["admin"], url="https://example.org/hook")


@pytest.fixture
def delivery(endpoint):
    return WebhookDelivery.objects.create(
        workspace=endpoint.workspace,
        endpoint=endpoint,
        event_seq=1,
        event_type="step_started",
        status="failed",
        error="No answer",
        created_at=database_now(),
    )


def test_an_admin_makes_one_and_sees_its_secret_once(staff, workspace):
    client = staff("admin")
    data = posted_by(client.get(add_page_of(WebhookEndpoint))) | {
        "workspace": str(workspace.pk),
        "url": "https://example.org/hook",
        "event_types": ["approval_required", "approval_granted"],
    }
    answer = client.post(add_page_of(WebhookEndpoint), data)
    made = WebhookEndpoint.objects.get()
    assert made.event_types == ["approval_required", "approval_granted"]
    assert made.secret in answer.content.decode()
    for page in (client.get(page_of(made)), client.get(list_of(WebhookEndpoint))):
        assert page.status_code == 200
        assert "whsec_" not in page.content.decode()


def test_the_form_shows_where_it_is_wrong(staff, endpoint):
    client = staff("admin")
    data = posted_by(client.get(page_of(endpoint))) | {"url": "http://10.0.0.1/"}
    answer = client.post(page_of(endpoint), data | {"event_types": []})
    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == {"url"}


def test_switching_it_off_gives_up_what_waits(staff, endpoint, delivery):
    WebhookDelivery.objects.update(status="pending", due_at=database_now())
    client = staff("admin")
    data = posted_by(client.get(page_of(endpoint)))
    off = {key: value for key, value in data.items() if key not in ("is_active", "event_types")}
    assert client.post(page_of(endpoint), off).status_code == 302
    endpoint.refresh_from_db()
    delivery.refresh_from_db()
    assert (endpoint.is_active, delivery.status) == (False, "failed")


def test_sends_again_and_sends_tests(staff, endpoint, delivery):
    client = staff("admin")
    assert client.get(page_of(delivery)).status_code == 200
    again = {"action": "replay_selected", "_selected_action": [str(delivery.pk)]}
    page = client.post(list_of(WebhookDelivery), again, follow=True)
    assert messages_on(page) == ["1 are on their way again."]
    test = {"action": "send_test", "_selected_action": [str(endpoint.pk)]}
    client.post(list_of(WebhookEndpoint), test)
    assert WebhookDelivery.objects.filter(due_at__isnull=False).count() == 2
    rotate = {"action": "rotate_secret", "_selected_action": [str(endpoint.pk)]}
    shown = client.post(list_of(WebhookEndpoint), rotate).content.decode()
    endpoint.refresh_from_db()
    assert endpoint.secret in shown
    assert endpoint.old_secret not in shown


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_nobody_else_sees_any(staff, endpoint, delivery, role):
    client = staff(role)
    for row in (endpoint, delivery):
        assert client.get(list_of(type(row))).status_code == 403
        assert client.get(page_of(row)).status_code == 403


def test_an_admin_elsewhere_sees_none(stranger, endpoint, delivery):
    for row in (endpoint, delivery):
        assert str(row.pk) not in stranger.get(list_of(type(row))).content.decode()
        assert stranger.get(page_of(row)).status_code == 302
    again = {"action": "replay_selected", "_selected_action": [str(delivery.pk)]}
    stranger.post(list_of(WebhookDelivery), again)
    assert WebhookDelivery.objects.count() == 1
