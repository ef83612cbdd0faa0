"""Delegations, grants and the workspace's own rules in the admin, by the services behind them."""

from datetime import timedelta

import pytest
from admin_addresses import add_page_of, list_of, messages_on, page_of, posted_by

from approvals.models import Delegation, StandingGrant
from approvals.services.delegations import delegate_all
from workflows.admin.tenants import WorkspaceForm
from workflows.clock import database_now

pytestmark = pytest.mark.django_db


def moment(**later):
    date, time = (database_now() + timedelta(**later)).strftime("%Y-%m-%d %H:%M:%S").split()
    return date, time


@pytest.fixture
def absence(workspace, users):
    return delegate_all(
        workspace,
        to="editor",
        user=users["approver"],
        starts_at=None,
        ends_at=database_now() + timedelta(days=1),
    )


def test_an_approver_names_who_stands_in(staff, workspace, users):
    client = staff("approver")
    end = dict(zip(("ends_at_0", "ends_at_1"), moment(days=3), strict=True))
    data = posted_by(client.get(add_page_of(Delegation)))
    data |= {"workspace": str(workspace.pk), "to": "editor", "reason": "Away", **end}
    refused = client.post(add_page_of(Delegation), data | {"to": "viewer"})
    assert set(refused.context["adminform"].form.errors) == {"to"}
    answer = client.post(add_page_of(Delegation), data)
    assert answer.status_code == 302, answer.context["errors"]
    made = Delegation.objects.get()
    assert (made.delegator, made.delegate, made.reason) == (
        users["approver"],
        users["editor"],
        "Away",
    )
    assert b"Holds" in client.get(list_of(Delegation)).content


def test_an_approver_approves_ahead(staff, workflow, users):
    client = staff("approver")
    end = dict(zip(("expires_at_0", "expires_at_1"), moment(days=3), strict=True))
    data = posted_by(client.get(add_page_of(StandingGrant)))
    data |= {"workflow": str(workflow.pk), "max_uses": "2", **end}
    refused = client.post(add_page_of(StandingGrant), data | {"predicate": "amount > 1"})
    assert set(refused.context["adminform"].form.errors) == {"predicate"}
    answer = client.post(add_page_of(StandingGrant), data | {"predicate": "payload.amount > 1"})
    assert answer.status_code == 302, answer.context["errors"]
    made = StandingGrant.objects.get()
    assert (made.granted_by, made.max_uses) == (users["approver"], 2)
    assert b"0 of 2" in client.get(list_of(StandingGrant)).content


def test_it_is_taken_back_by_who_gave_it_or_an_admin(staff, absence):
    take_back = {"action": "revoke_selected", "_selected_action": [str(absence.pk)]}
    refused = staff("editor").post(list_of(Delegation), take_back, follow=True)
    assert "needs the role admin" in messages_on(refused)[0]
    answer = staff("admin").post(list_of(Delegation), take_back, follow=True)
    assert "is taken back" in messages_on(answer)[0]
    absence.refresh_from_db()
    assert absence.revoked_at is not None


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_below_an_approver_nothing_is_given(staff, absence, role):
    client = staff(role)
    assert client.get(page_of(absence)).status_code == 200
    assert client.get(add_page_of(Delegation)).status_code == 403
    assert client.get(add_page_of(StandingGrant)).status_code == 403


def test_nobody_edits_what_was_given(staff, absence):
    client = staff("admin")
    assert client.post(page_of(absence), {"reason": "Mine"}).status_code == 403
    assert client.post(page_of(absence, "delete"), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ('{"forbid_auto_approval": "yes"}', "is true or false"),
        ('{"forbid_everything": true}', "There is no “forbid_everything”"),
        ('{"retention_days": -1}', "is a whole number"),
        ('{"prevent_self_approval": true, "forbid_standing_grants": true}', ""),
    ],
)
def test_the_rules_of_a_workspace_are_checked(workspace, given, complaint):
    form = WorkspaceForm({"name": "Acme", "slug": "acme", "settings": given}, instance=workspace)
    form.is_valid()
    assert complaint in str(form.errors.get("settings", ""))
    assert bool(form.errors) == bool(complaint)
