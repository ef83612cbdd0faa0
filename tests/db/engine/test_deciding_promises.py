"""P5 to P8: one outcome however many decide, by those with the right, on what they saw.

In CI few of each; with MGX_CHAOS=long as many as the promises say.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from approvals.services.requests import create_approval_request
from approvals.services.retraction import retract
from approvals.tally import tally
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.deaths import Crash, Death
from tests.db.engine.scenes import Scene, gate, steps_of, task
from tests.db.engine.threads import at_once
from workflows.core.canonical import digest
from workflows.errors import Conflict
from workflows.models import Event, Membership, User
from workflows.services.access import revoke_token

pytestmark = pytest.mark.django_db

IS_LONG = os.environ.get("MGX_CHAOS") == "long"
IS_POSTGRESQL = connection.vendor == "postgresql"
VERBS = ("approve", "reject", "request-changes", "decisions")


class Answer(NamedTuple):
    approval_id: UUID
    client: int
    outcome: str
    status: int
    body: dict[str, Any]


@pytest.mark.promise("P5 many clients with mixed verbs on the same requests")
@pytest.mark.django_db(transaction=True)
def test_of_many_clients_with_mixed_verbs_one_wins_each_request(
    scene: Scene,
    hand: DriverByHand,
    make_member: Callable[..., User],
    make_api: Callable[..., APIClient],
    record_property: Callable[[str, Any], None],
) -> None:
    clients, count = ((50, 100) if IS_POSTGRESQL else (20, 20)) if IS_LONG else (8, 6)
    people = [make_member(f"person{n}", scene.workspace, "approver") for n in range(clients)]
    apis = [make_api(person) for person in people]
    runs = [scene.run(gate("g"), task("act", after=["g"])) for _ in range(count // 2)]
    hand.turn()
    ids = list(WorkflowStepApproval.objects.values_list("id", flat=True))
    for _ in range(count - len(runs)):
        request = create_approval_request(
            workspace=scene.workspace, title="T", user=scene.users["operator"]
        )
        ids.append(request.id)

    def act(number: int) -> list[Answer]:
        chance = random.Random(number)  # noqa: S311  (a test's own)
        return [_say(apis[number], number, each, chance) for each in chance.sample(ids, count)]

    answers = [answer for each in at_once(clients, act) for answer in each]
    assert Counter(answer.status for answer in answers).keys() == {200, 409}
    for approval in WorkflowStepApproval.objects.filter(id__in=ids):
        mine = [answer for answer in answers if answer.approval_id == approval.id]
        [won] = [answer for answer in mine if answer.status == 200]
        assert (won.outcome, people[won.client]) == (approval.status, approval.approved_by)
        for lost in (answer.body for answer in mine if answer.status == 409):
            assert (lost["code"], lost["status"]) == ("already_decided", 409)
            assert lost["decided_by"] == people[won.client].username
            assert lost["decided_at"]
        repeat = apis[won.client].post(
            f"/api/v1/approvals/{approval.id}/decisions/",
            {"outcome": won.outcome, "feedback": "Because"},
            format="json",
        )
        assert repeat.status_code == 200
        assert ApprovalDecision.objects.filter(approval=approval).count() == 1
        ends = Event.objects.filter(approval_id=approval.id).exclude(event_type="approval_required")
        assert ends.count() == 1
    record_property("figures", f"{clients} clients, {len(answers)} decisions, {count} won")


def _say(api: APIClient, client: int, approval_id: UUID, chance: random.Random) -> Answer:
    verb = chance.choice(VERBS)
    outcome = {"approve": "approved", "reject": "rejected", "request-changes": "request_changes"}
    said = outcome.get(verb) or chance.choice(list(outcome.values()))
    body = {"feedback": "Because"} | ({"outcome": said} if verb == "decisions" else {})
    answer = api.post(f"/api/v1/approvals/{approval_id}/{verb}/", body, format="json")
    return Answer(approval_id, client, said, answer.status_code, answer.json())


@pytest.mark.promise("P6 a vote and its retraction cut off before or after the commit")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_committed", [False, True], ids=["before", "after"])
def test_a_vote_and_its_taking_back_count_if_they_were_committed(
    scene: Scene,
    hand: DriverByHand,
    is_committed: bool,
) -> None:
    run = scene.run(gate("g", min_approvals=2), task("act", after=["g"]))
    hand.turn()
    request = WorkflowStepApproval.objects.get(workflow_execution=run)
    decision, approver = Decision(request.id, "approved"), scene.users["approver"]
    at = 2 if is_committed else 1
    with pytest.raises(Crash), Death(at).at_commits():
        decide(decision, user=approver, door=Door.API)
    assert tally(request).given == is_committed
    assert decide(decision, user=approver, door=Door.API).repeated == is_committed
    with pytest.raises(Crash), Death(at).at_commits():
        retract(request.id, user=approver, door=Door.API)
    assert tally(request).given == (not is_committed)
    hand.work()
    assert steps_of(run)["g"].status == "waiting"


LOSSES: dict[str, Callable[[User], Any]] = {
    "removed": lambda user: Membership.objects.filter(user=user).delete(),
    "deactivated": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "demoted": lambda user: Membership.objects.filter(user=user).update(role="operator"),
}


@pytest.mark.promise("P7 removed, deactivated, demoted: a token and a session that stay")
@pytest.mark.parametrize("names", [[], ["user123"]], ids=["all", "name"])
@pytest.mark.parametrize("loss", LOSSES)
def test_who_has_lost_the_right_is_refused_at_the_next_call_of_every_door(
    scene: Scene,
    hand: DriverByHand,
    make_api: Callable[..., APIClient],
    client_for: Callable[[str], Client],
    loss: str,
    names: list[str],
) -> None:
    user = scene.users["approver"]
    run = scene.run(gate("g", required_approvers=names))
    hand.turn()
    request = WorkflowStepApproval.objects.get(workflow_execution=run)
    api, page = make_api(user), client_for("approver")
    address = f"/api/v1/approvals/{request.id}/decisions/"
    assert api.get(f"/api/v1/approvals/{request.id}/").json()["can_decide"]
    LOSSES[loss](user)
    by_token = api.post(address, {"outcome": "approved"}, format="json")
    by_session = page.post(address, {"outcome": "approved"}, content_type="application/json")
    page.post(f"/approvals/{request.id}/", {"outcome": "approved", "digest": request.digest})
    refused = {"removed": 404, "deactivated": 401, "demoted": 403}[loss]
    assert (by_token.status_code, by_session.status_code) == (refused, refused)
    request.refresh_from_db()
    assert request.status == "pending"


@pytest.mark.promise("P7 a token that was revoked")
def test_a_token_that_was_revoked_decides_nothing(
    scene: Scene, hand: DriverByHand, make_api: Callable[..., APIClient]
) -> None:
    run = scene.run(gate("g"))
    hand.turn()
    request = WorkflowStepApproval.objects.get(workflow_execution=run)
    user = scene.users["approver"]
    api = make_api(user)
    revoke_token(user.api_tokens.get())
    answer = api.post(f"/api/v1/approvals/{request.id}/approve/", {}, format="json")
    assert answer.status_code == 401


@pytest.mark.promise("P8 mutations between view and click")
def test_exactly_what_was_seen_is_approved_and_runs(
    scene: Scene,
    hand: DriverByHand,
    make_member: Callable[..., User],
    record_property: Callable[[str, Any], None],
) -> None:
    mutations = 50 if IS_LONG else 5
    schema = {"properties": {"n": {"type": "integer", "x-edits": "/plan/n"}}}
    run = scene.run(
        task("plan", inputs={"n": 0}),
        gate("g", after=["plan"], min_approvals=mutations + 2, form_schema=schema),
        task("act", after=["g"], inputs={"did": "${steps.g.payload}"}),
    )
    hand.work()
    request = WorkflowStepApproval.objects.get(workflow_execution=run)
    people = [make_member(f"p{n}", scene.workspace, "approver") for n in range(mutations + 2)]

    def click(user: User, **fields: Any) -> Any:
        decision = Decision(request.id, "approved", revision=1, **fields)
        return decide(decision, user=user, door=Door.PAGE)

    for number in range(mutations):
        seen = request.digest
        click(people[0], digest=seen, response_data={"n": number + 1})
        with pytest.raises(Conflict) as refusal:
            click(people[1], digest=seen)
        assert refusal.value.code == "stale_digest"
        request.refresh_from_db()
        assert refusal.value.facts["digest"] == request.digest != seen
        assert tally(request).given == 1, "what was approved before the edit does not count"
    for person in people[1:]:
        last = click(person, digest=request.digest)
    assert last.is_final
    hand.work()
    request.refresh_from_db()
    ran = steps_of(run)["act"].input_data["did"]
    shown = {"title": request.title, "description": request.description, "revision": 1}
    assert ran == {"plan": {"n": mutations}}
    assert digest({**shown, "approval_data": ran}) == request.digest
    assert {d.digest for d in request.decisions.filter(is_final=True)} == {request.digest}
    record_property("figures", f"{mutations} refused, the digest is that of what ran")
