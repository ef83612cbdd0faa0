"""A person's link: it opens the request, decides by POST alone, once, as that person."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from approvals.models import ApprovalDecision, ApprovalLink, Door, Risk, WorkflowStepApproval
from approvals.notifications.links import decide_by_link, link_for, open_link, token_of
from approvals.services.decisions import Decision, decide
from approvals.services.requests import create_approval_request
from workflows.clock import database_now
from workflows.errors import Conflict
from workflows.models import Membership, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def approval(workspace: Any, users: dict[str, Any]) -> WorkflowStepApproval:
    return create_approval_request(
        workspace=workspace,
        title="Deploy 2026.47",
        user=users["operator"],
        approval_data={"plan": "all at once"},
    )


@pytest.fixture
def link(approval: WorkflowStepApproval, users: dict[str, Any]) -> ApprovalLink:
    return link_for(approval, users["approver"], database_now())


@pytest.fixture
def address(link: ApprovalLink) -> str:
    return f"/approvals/link/{token_of(link)}/"


@pytest.fixture
def say(client: Client, approval: WorkflowStepApproval, address: str) -> Callable[..., Any]:
    """Return a function that posts the link's form: ``say("approved")``."""

    def post(outcome: str, feedback: str = "", **more: str) -> Any:
        form = {"outcome": outcome, "feedback": feedback}
        form |= {"digest": approval.digest, "revision": str(approval.revision), **more}
        return client.post(address, form)

    return post


def status(approval: WorkflowStepApproval) -> str:
    approval.refresh_from_db()
    return approval.status


def test_opens_the_request_without_signing_in_and_decides_nothing(
    client: Client, approval: WorkflowStepApproval, address: str
) -> None:
    for _ in range(3):
        page = client.get(address)
        client.head(address)
    text = page.content.decode()
    assert page.status_code == 200
    assert "all at once" in text
    assert "user123" in text
    assert f'action="{address}"' in text
    assert status(approval) == "pending"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert "noindex" in page.headers["X-Robots-Tag"]
    assert "sessionid" not in client.cookies


def test_decides_once_as_the_person(
    client: Client, approval: WorkflowStepApproval, address: str, say: Any, users: dict[str, Any]
) -> None:
    done = say("rejected", "Not on a Friday")
    assert done.status_code == 200
    assert "Your decision is recorded" in done.content.decode()
    assert status(approval) == "rejected"
    record = ApprovalDecision.objects.get()
    assert (record.user, record.door, record.comment) == (
        users["approver"],
        Door.LINK,
        "Not on a Friday",
    )
    for again in (say("rejected", "Not on a Friday"), client.get(address)):
        assert again.status_code == 410
        assert f"/approvals/{approval.pk}/" in again.content.decode()
    assert ApprovalDecision.objects.count() == 1


def test_an_expired_link_decides_nothing(
    client: Client, approval: WorkflowStepApproval, address: str, say: Any
) -> None:
    ApprovalLink.objects.update(expires_at=database_now())
    assert client.get(address).status_code == 410
    assert say("approved").status_code == 410
    assert status(approval) == "pending"


def test_a_link_that_was_altered_opens_nothing(
    client: Client, approval: WorkflowStepApproval, link: ApprovalLink, users: dict[str, Any]
) -> None:
    token = token_of(link)
    other = link_for(approval, users["admin"], database_now())
    _, _, signature = token.partition(":")
    for altered in (
        f"{other.pk.hex}:{signature}",
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        link.pk.hex,
        "x",
        "%00",
        "a:" + "b" * 5_000,
    ):
        assert client.get(f"/approvals/link/{altered}/").status_code == 403, altered
        assert client.post(f"/approvals/link/{altered}/", {}).status_code == 403, altered
    assert status(approval) == "pending"


@pytest.mark.parametrize("loss", ["inactive", "removed", "demoted"])
def test_a_link_goes_with_the_right(
    client: Client,
    approval: WorkflowStepApproval,
    address: str,
    say: Any,
    users: dict[str, Any],
    loss: str,
) -> None:
    membership = Membership.objects.filter(user=users["approver"])
    if loss == "inactive":
        User.objects.filter(pk=users["approver"].pk).update(is_active=False)
    elif loss == "removed":
        membership.delete()
    else:
        membership.update(role="viewer")
    page = client.get(address)
    assert page.status_code == (200 if loss == "demoted" else 403)
    assert "data-decide-button" not in page.content.decode()
    assert say("approved").status_code == 403
    assert status(approval) == "pending"
    assert ApprovalLink.objects.get().used_at is None


@pytest.mark.parametrize(
    "terms",
    [{"risk": Risk.HIGH}, {"approval_data": {"files": [{"path": "a.py", "after": "x"}]}}],
    ids=["high risk", "files"],
)
def test_what_the_link_is_not_enough_for_asks_for_the_sign_in(
    client: Client, approval: WorkflowStepApproval, address: str, say: Any, terms: Any
) -> None:
    WorkflowStepApproval.objects.update(**terms)
    text = client.get(address).content.decode()
    assert "data-decide-button" not in text
    assert "sign in to decide" in text
    assert say("approved").status_code == 403
    assert status(approval) == "pending"


def test_a_refused_decision_leaves_the_link_and_the_words(
    client: Client, approval: WorkflowStepApproval, say: Any
) -> None:
    assert say("rejected").status_code == 400
    stale = say("approved", "fine", digest="0" * 64)
    assert stale.status_code == 409
    assert "fine" in stale.content.decode()
    assert say("nonsense").status_code == 400
    assert ApprovalLink.objects.get().used_at is None
    assert say("approved").status_code == 200
    assert status(approval) == "approved"


def test_needs_the_token_of_its_form(address: str, approval: WorkflowStepApproval) -> None:
    strict = Client(enforce_csrf_checks=True)
    form = {"outcome": "approved", "digest": approval.digest, "revision": "1"}
    assert strict.post(address, form).status_code == 403
    page = strict.get(address).content.decode()
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    assert strict.post(address, form | {"csrfmiddlewaretoken": token}).status_code == 200
    assert status(approval) == "approved"


def test_says_who_was_before(
    approval: WorkflowStepApproval, say: Any, users: dict[str, Any]
) -> None:
    decide(Decision(approval.pk, "approved"), user=users["admin"], door=Door.API)
    refused = say("rejected", "No")
    assert refused.status_code == 409
    assert "admin approved this" in refused.content.decode()


def test_what_a_refusal_writes_stays(
    approval: WorkflowStepApproval, say: Any, link: ApprovalLink
) -> None:
    WorkflowStepApproval.objects.update(expires_at=database_now() - timedelta(seconds=1))
    assert say("approved").status_code == 409
    assert status(approval) == "timeout"


def test_no_link_that_works_is_in_a_log(
    say: Any, link: ApprovalLink, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert say("rejected").status_code == 400
    assert Client(enforce_csrf_checks=True).post(address).status_code == 403
    assert "/approvals/link/…/" in caplog.text
    assert token_of(link) not in caplog.text


def test_of_two_that_opened_it_one_decides(
    link: ApprovalLink, approval: WorkflowStepApproval
) -> None:
    first, second = open_link(token_of(link)), open_link(token_of(link))
    decide_by_link(first, Decision(approval.pk, "approved"))
    with pytest.raises(Conflict) as refusal:
        decide_by_link(second, Decision(approval.pk, "approved"))
    assert refusal.value.code == "used_link"
