"""The page for who stands in for whom, and for what is approved ahead."""

from datetime import timedelta

import pytest

from approvals.models import Delegation, StandingGrant
from approvals.services.delegations import delegate_all
from approvals.services.grants import give_grant
from workflows.clock import database_now

pytestmark = pytest.mark.django_db

PAGE = "/approvals/standing/"


def typed(**later):
    """A moment as a browser sends it."""
    return (database_now() + timedelta(**later)).strftime("%Y-%m-%dT%H:%M")


@pytest.fixture
def absence(workspace, users):
    return delegate_all(
        workspace,
        to="editor",
        user=users["approver"],
        starts_at=None,
        ends_at=database_now() + timedelta(days=1),
        reason="On leave",
    )


@pytest.fixture
def grant(workflow, users):
    return give_grant(
        workflow,
        user=users["approver"],
        step_name="approval_gate",
        predicate='risk == "low" && title != "<b>"',
        max_uses=5,
        expires_at=database_now() + timedelta(days=1),
    )


def test_everybody_sees_who_stands_in_and_what_is_approved_ahead(client_for, absence, grant):
    page = client_for("viewer").get(PAGE).content.decode()
    for words in ("editor</strong> for user123", "On leave", "Holds now", "used 0 of 5"):
        assert words in page
    assert "title != &quot;&lt;b&gt;&quot;" in page
    assert "needs the role approver" in page
    assert "Take back" not in page


def test_who_leaves_names_who_decides_meanwhile(client_for, users):
    client = client_for("approver")
    assert "Nobody stands in" in client.get(PAGE).content.decode()
    form = {"to": "editor", "starts_at": "", "ends_at": typed(days=2), "reason": "On leave"}
    answer = client.post(f"{PAGE}absences/", form, follow=True)
    assert answer.redirect_chain == [(PAGE, 302)]
    assert "editor stands in for you" in answer.content.decode()
    made = Delegation.objects.get()
    assert (made.delegator, made.delegate) == (users["approver"], users["editor"])
    client.post(f"{PAGE}absences/{made.pk}/end/")
    page = client.get(PAGE).content.decode()
    assert "Nobody stands in" in page
    assert "Taken back" in page


def test_moments_are_in_the_zone_of_the_reader(client_for):
    client = client_for("approver")
    client.cookies["mgx_zone"] = "Asia/Tokyo"
    assert "Asia/Tokyo" in client.get(PAGE).content.decode()
    form = {"to": "editor", "ends_at": typed(hours=10)}
    client.post(f"{PAGE}absences/", form)
    left = Delegation.objects.get().ends_at - database_now()
    assert timedelta(minutes=55) < left < timedelta(minutes=65)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "Choose who stands in for you."),
        ({"to": "editor", "ends_at": "soon"}, "Enter a date and a time."),
        ({"to": "editor", "ends_at": "2001-01-01T00:00"}, "The end comes after the start"),
        ({"to": "viewer", "ends_at": "2999-01-01T00:00"}, "standing in needs the role approver"),
        ({"to": "a\0b", "ends_at": "9999-12-31T23:59"}, "NUL"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(client_for, form, said):
    answer = client_for("approver").post(f"{PAGE}absences/", {"reason": "On leave", **form})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert said in page
    assert 'value="On leave"' in page
    assert not Delegation.objects.exists()


def test_an_approver_approves_ahead_and_takes_it_back(client_for, workflow, users):
    client = client_for("approver")
    form = {
        "gate": f"{workflow.pk}/approval_gate",
        "predicate": 'risk == "low"',
        "max_uses": "3",
        "expires_at": typed(days=2),
    }
    refused = client.post(f"{PAGE}grants/", form | {"predicate": "amount > 1", "max_uses": "x"})
    assert refused.status_code == 400
    assert "Enter a whole number." in refused.content.decode()
    refused = client.post(f"{PAGE}grants/", form | {"predicate": "amount > 1"})
    assert "There is no variable" in refused.content.decode()
    assert 'value="amount &gt; 1"' in refused.content.decode()
    for gate in ("", "nothing/x", f"{workflow.pk}/generate_plan"):
        assert client.post(f"{PAGE}grants/", form | {"gate": gate}).status_code == 400
    assert client.post(f"{PAGE}grants/", form).status_code == 302
    made = StandingGrant.objects.get()
    assert (made.granted_by, made.step_name, made.max_uses) == (
        users["approver"],
        "approval_gate",
        3,
    )
    client.post(f"{PAGE}grants/{made.pk}/end/")
    assert "Nothing is approved ahead" in client.get(PAGE).content.decode()


def test_only_givers_and_admins_take_back(client_for, absence, grant):
    for address in (f"{PAGE}absences/{absence.pk}/end/", f"{PAGE}grants/{grant.pk}/end/"):
        assert client_for("editor").post(address).status_code == 403
        assert client_for("editor").get(address).status_code == 405
        assert client_for("admin").post(address).status_code == 302


def test_another_workspace_is_not_shown(client, outsider, absence, grant):
    client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
    page = client.get(PAGE).content.decode()
    assert "user123" not in page
    assert client.post(f"{PAGE}absences/{absence.pk}/end/").status_code == 404
    assert client.post(f"{PAGE}grants/{grant.pk}/end/").status_code == 404


def test_the_page_asks_the_database_a_flat_number_of_times(
    client_for, absence, grant, workspace, workflow, users, django_assert_max_num_queries
):
    client = client_for("approver")
    client.get(PAGE)
    for _ in range(5):
        end = database_now() + timedelta(days=1)
        delegate_all(workspace, to="editor", user=users["approver"], starts_at=None, ends_at=end)
        give_grant(workflow, user=users["approver"], max_uses=1, expires_at=end)
    with django_assert_max_num_queries(14):
        client.get(PAGE)
