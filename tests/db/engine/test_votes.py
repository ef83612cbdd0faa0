"""Rules that want several people: votes, delegates, edits, and what a request still lacks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group

from approvals.models import (
    ApprovalApprover,
    ApprovalDecision,
    Delegation,
    Door,
    WorkflowStepApproval,
)
from approvals.rights import can_decide
from approvals.services.decisions import Decision, DecisionResult, decide
from approvals.tally import tally
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, events_of, gate, steps_of, task
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.errors import Conflict, InvalidInput, MgxError, NotPermitted
from workflows.models import Membership, Timer, User

pytestmark = pytest.mark.django_db

Ask = Callable[..., WorkflowStepApproval]


@pytest.fixture
def ask(scene: Scene, hand: DriverByHand) -> Ask:
    """Return a function that runs a workflow up to its gate and returns the request."""

    def make(**approval: Any) -> WorkflowStepApproval:
        run = scene.run(
            task("plan", inputs={"replicas": 2}),
            gate("g", after=["plan"], **approval),
            task("act", after=["g"]),
        )
        hand.work()
        return WorkflowStepApproval.objects.get(workflow_execution=run)

    return make


@pytest.fixture
def people(scene: Scene, make_member: Callable[..., User]) -> dict[str, User]:
    """Approvers: anna and ben of the group legal, carl and dora of money, and emil."""
    made = {
        name: make_member(name, scene.workspace, "approver")
        for name in ("anna", "ben", "carl", "dora", "emil")
    }
    for group, names in {"legal": ("anna", "ben"), "money": ("carl", "dora")}.items():
        Group.objects.create(name=group).user_set.add(*(made[name] for name in names))
    return made


def say(
    request: WorkflowStepApproval, user: User, outcome: str = "approved", **fields: Any
) -> DecisionResult:
    return decide(Decision(request.id, outcome, **fields), user=user, door=Door.PAGE)


def code_of(act: Callable[[], Any]) -> str:
    """Return the code with which ``act`` is refused, and "" where it is not."""
    try:
        act()
    except MgxError as refusal:
        return refusal.code
    return ""


def delegate(of: User, to: User, request: WorkflowStepApproval, **fields: Any) -> Delegation:
    now = database_now()
    values = {
        "approval": request,
        "starts_at": now - timedelta(hours=1),
        "ends_at": now + timedelta(hours=1),
        "created_at": now,
    }
    return Delegation.objects.create(
        workspace_id=request.workspace_id, delegator=of, delegate=to, **values | fields
    )


# --- several people -----------------------------------------------------------------------


def test_two_of_those_named_must_approve(
    scene: Scene, ask: Ask, people: dict[str, User], hand: DriverByHand
) -> None:
    request = ask(required_approvers=["anna", "ben", "carl"], min_approvals=2)
    first = say(request, people["anna"], feedback="Looks right")
    assert (first.is_final, first.approval.status) == (False, "pending")
    request.refresh_from_db()
    count = tally(request)
    assert (count.given, count.needed, count.missing) == (1, 2, ["ben", "carl"])
    assert [vote.user for vote in count.votes] == [people["anna"]]
    assert Timer.objects.filter(subject_id=request.id).exists()
    last = say(request, people["carl"])
    assert (last.is_final, last.approval.status) == (True, "approved")
    assert last.approval.approved_by == people["carl"]
    assert not Timer.objects.filter(subject_id=request.id).exists()
    assert request.workflow_execution_id
    counted, granted = events_of(
        request.workflow_execution_id, "approval_counted", "approval_granted"
    )
    assert counted.data | {"given": 1, "needed": 2, "missing": ["ben", "carl"]} == counted.data
    assert (counted.actor, granted.actor) == ("user:anna", "user:carl")
    hand.work()
    assert request.workflow_execution
    assert steps_of(request.workflow_execution)["act"].status == "completed"


def test_the_same_person_twice_is_one_vote(ask: Ask, people: dict[str, User]) -> None:
    request = ask(required_approvers=["anna", "ben"], min_approvals="all")
    assert not say(request, people["anna"]).repeated
    again = say(request, people["anna"])
    assert (again.repeated, again.is_final, again.approval.status) == (True, False, "pending")
    assert ApprovalDecision.objects.count() == 1
    say(request, people["ben"])
    assert say(request, people["anna"]).repeated
    assert say(request, people["ben"]).repeated
    assert ApprovalDecision.objects.count() == 2


@pytest.mark.parametrize("outcome", ["rejected", "request_changes"])
def test_one_who_says_no_ends_it(ask: Ask, people: dict[str, User], outcome: str) -> None:
    request = ask(min_approvals=3)
    say(request, people["anna"])
    say(request, people["ben"])
    result = say(request, people["anna"], outcome, feedback="On second thought")
    assert (result.is_final, result.approval.status) == (True, outcome)
    assert code_of(lambda: say(request, people["carl"])) == "already_decided"


def test_two_of_each_of_two_groups_are_asked_for(ask: Ask, people: dict[str, User]) -> None:
    two_each = [{"n_of": 2, "of": [f"group:{g}"] * 2} for g in ("legal", "money")]
    request = ask(policy={"all_of": two_each})
    assert code_of(lambda: say(request, people["emil"])) == "not_an_approver"
    for name, given in (("anna", 1), ("carl", 2), ("ben", 3)):
        assert not say(request, people[name]).is_final
        request.refresh_from_db()
        assert (tally(request).given, tally(request).needed) == (given, 4)
    assert tally(request).missing == ["group:money"]
    assert say(request, people["dora"]).approval.status == "approved"
    stood_for = {d.user.username: d.stands_for for d in request.decisions.all() if d.user}
    assert (stood_for["anna"], stood_for["dora"]) == (["group:legal"], ["group:money"])


def test_each_name_is_met_by_another_person(ask: Ask, people: dict[str, User]) -> None:
    Group.objects.get(name="money").user_set.add(people["anna"])
    request = ask(policy={"all_of": ["group:legal", "group:money"]})
    assert not say(request, people["anna"]).is_final
    assert say(request, people["ben"]).is_final, "anna stands for money, then"


def test_what_somebody_stood_for_stays_when_they_leave_the_group(
    ask: Ask, people: dict[str, User]
) -> None:
    request = ask(required_approvers=["group:legal", "emil"], min_approvals="all")
    say(request, people["anna"])
    people["anna"].groups.clear()
    assert say(request, people["emil"]).is_final


def test_one_who_was_added_later_stands_for_any_name(ask: Ask, people: dict[str, User]) -> None:
    request = ask(required_approvers=["anna", "ben"], min_approvals="all")
    ApprovalApprover.objects.create(
        approval=request, user=people["emil"], name="emil", is_escalation=True
    )
    assert not say(request, people["emil"]).is_final
    assert say(request, people["ben"]).is_final


@pytest.mark.django_db(transaction=True)
def test_of_votes_at_once_none_is_lost_and_none_too_many(
    scene: Scene, ask: Ask, make_member: Callable[..., User]
) -> None:
    voters = [make_member(f"voter{n}", scene.workspace, "approver") for n in range(8)]
    for _ in range(3):
        request = ask(min_approvals=5)

        def act(number: int, request: WorkflowStepApproval = request) -> str:
            return code_of(lambda: say(request, voters[number]))

        answers = at_once(8, act)
        assert sorted(answers) == [""] * 5 + ["already_decided"] * 3
        request.refresh_from_db()
        assert (request.status, request.decisions.count()) == ("approved", 5)
        assert request.decisions.filter(is_final=True).count() == 1


# --- delegates ----------------------------------------------------------------------------


def test_a_delegate_decides_in_the_place_of_another(ask: Ask, people: dict[str, User]) -> None:
    request = ask(required_approvers=["anna"])
    assert code_of(lambda: say(request, people["emil"])) == "not_an_approver"
    delegate(people["anna"], people["emil"], request)
    assert can_decide(people["emil"], request).allowed
    say(request, people["emil"])
    record = request.decisions.get()
    assert (record.user, record.on_behalf_of) == (people["emil"], people["anna"])


def test_a_delegation_for_a_time_holds_for_every_request(ask: Ask, people: dict[str, User]) -> None:
    request, other = ask(required_approvers=["anna"]), ask(required_approvers=["ben"])
    delegate(people["anna"], people["emil"], request, approval=None)
    assert code_of(lambda: say(request, people["emil"])) == ""
    assert code_of(lambda: say(other, people["emil"])) == "not_an_approver"


@pytest.mark.parametrize(
    "fields",
    [
        {"revoked_at": timedelta(0)},
        {"ends_at": timedelta(seconds=-1)},
        {"starts_at": timedelta(seconds=60)},
    ],
    ids=["revoked", "ended", "to come"],
)
def test_a_delegation_that_does_not_hold_gives_no_right(
    ask: Ask, people: dict[str, User], fields: dict[str, timedelta]
) -> None:
    request = ask(required_approvers=["anna"])
    moments = {name: database_now() + moment for name, moment in fields.items()}
    delegate(people["anna"], people["emil"], request, **moments)
    assert code_of(lambda: say(request, people["emil"])) == "not_an_approver"


@pytest.mark.parametrize("who", ["anna", "emil"])
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_is_demoted_can_neither_delegate_nor_stand_in(
    ask: Ask, people: dict[str, User], who: str, role: str
) -> None:
    request = ask(required_approvers=["anna"])
    delegate(people["anna"], people["emil"], request)
    Membership.objects.filter(user=people[who]).update(role=role)
    assert code_of(lambda: say(request, people["emil"])) == "not_an_approver"


def test_a_delegate_hands_nothing_on(ask: Ask, people: dict[str, User]) -> None:
    request = ask(required_approvers=["anna"])
    delegate(people["anna"], people["emil"], request)
    delegate(people["emil"], people["carl"], request)
    assert code_of(lambda: say(request, people["carl"])) == "not_an_approver"


def test_a_person_and_their_delegate_are_one(ask: Ask, people: dict[str, User]) -> None:
    request = ask(required_approvers=["anna", "group:legal"], min_approvals=2)
    delegate(people["anna"], people["emil"], request)
    assert not say(request, people["emil"]).is_final
    assert say(request, people["anna"]).repeated
    assert say(request, people["ben"]).is_final


def test_a_delegate_of_two_is_one_person(ask: Ask, people: dict[str, User]) -> None:
    request = ask(required_approvers=["anna", "ben"], min_approvals="all")
    delegate(people["anna"], people["emil"], request)
    delegate(people["ben"], people["emil"], request)
    assert not say(request, people["emil"]).is_final
    assert say(request, people["emil"]).repeated
    request.refresh_from_db()
    assert request.status == "pending"


def test_no_delegate_of_who_asked_decides_where_that_is_separated(
    scene: Scene, ask: Ask, people: dict[str, User]
) -> None:
    request = ask(prevent_self_approval=True)
    assert can_decide(people["emil"], request).allowed
    delegate(scene.users["operator"], people["emil"], request)
    refusal = can_decide(people["emil"], request)
    assert refusal.code == "self_approval"
    assert "stand in for operator" in refusal.why
    with pytest.raises(NotPermitted):
        say(request, people["emil"])
    assert code_of(lambda: say(request, people["anna"])) == ""


# --- forms and edits ----------------------------------------------------------------------

FORM = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer", "minimum": 1, "x-edits": "/plan/replicas"},
        "ticket": {"type": "string"},
    },
    "required": ["ticket"],
}


def test_an_answer_that_is_not_as_its_form_wants_it_is_refused_with_the_places(
    ask: Ask, people: dict[str, User]
) -> None:
    request = ask(form_schema=FORM)
    with pytest.raises(InvalidInput) as refusal:
        say(request, people["anna"], response_data={"replicas": 0})
    assert refusal.value.code == "invalid_response"
    places = {problem.path for problem in refusal.value.problems}
    assert places == {"/response_data/replicas", "/response_data/ticket"}
    assert code_of(lambda: say(request, people["anna"])) == "invalid_response"
    assert code_of(lambda: say(request, people["anna"], "rejected", feedback="No")) == ""
    assert not request.decisions.filter(outcome="approved").exists()


def test_an_edit_changes_what_is_approved_and_handed_on(
    ask: Ask, people: dict[str, User], hand: DriverByHand
) -> None:
    request = ask(form_schema=FORM)
    answer = {"replicas": 5, "ticket": "OPS-1"}
    say(request, people["anna"], digest=request.digest, response_data=answer)
    before = request.digest
    request.refresh_from_db()
    assert request.approval_data == {"plan": {"replicas": 5}}
    assert request.digest != before
    record = request.decisions.get()
    assert (record.digest, record.edited_data) == (request.digest, request.approval_data)
    assert say(request, people["anna"], digest=before, response_data=answer).repeated
    hand.work()
    assert request.step_execution
    request.step_execution.refresh_from_db()
    assert request.step_execution.output_data["payload"] == {"plan": {"replicas": 5}}
    assert request.step_execution.output_data["digest"] == request.digest


def test_an_answer_that_changes_nothing_is_no_edit(ask: Ask, people: dict[str, User]) -> None:
    request = ask(form_schema=FORM)
    say(request, people["anna"], response_data={"replicas": 2, "ticket": "OPS-1"})
    record = request.decisions.get()
    assert (record.digest, record.edited_data) == (request.digest, None)


def test_who_approved_before_an_edit_is_asked_again(ask: Ask, people: dict[str, User]) -> None:
    request = ask(form_schema=FORM, min_approvals=2)
    same = {"replicas": 2, "ticket": "OPS-1"}
    say(request, people["anna"], digest=request.digest, response_data=same)
    edited = say(request, people["ben"], response_data={"replicas": 9, "ticket": "OPS-1"})
    assert not edited.is_final
    stale = request.digest
    request.refresh_from_db()
    assert (tally(request).given, request.approval_data) == (1, {"plan": {"replicas": 9}})
    with pytest.raises(Conflict) as refusal:
        say(request, people["carl"], digest=stale, response_data=same)
    assert refusal.value.facts["digest"] == request.digest
    result = say(request, people["anna"], response_data={"ticket": "OPS-1"})
    assert (result.is_final, result.repeated) == (True, False)


def test_the_repeat_of_a_vote_that_edits_is_a_repeat(ask: Ask, people: dict[str, User]) -> None:
    request = ask(form_schema=FORM, min_approvals=2)
    answer = {"replicas": 9, "ticket": "OPS-1"}
    say(request, people["anna"], digest=request.digest, response_data=answer)
    assert say(request, people["anna"], digest=request.digest, response_data=answer).repeated
    assert request.decisions.count() == 1


def test_an_edit_of_what_is_not_there_is_refused(ask: Ask, people: dict[str, User]) -> None:
    schema = {"properties": {"x": {"x-edits": "/none/x"}}}
    request = ask(form_schema=schema)
    with pytest.raises(InvalidInput) as refusal:
        say(request, people["anna"], response_data={"x": 1})
    assert refusal.value.problems[0].path == "/response_data/x"


# --- bounds -------------------------------------------------------------------------------


def test_changes_are_requested_only_so_often(ask: Ask, people: dict[str, User]) -> None:
    request = ask(max_revisions=0)
    with pytest.raises(Conflict) as refusal:
        say(request, people["anna"], "request_changes", feedback="More")
    assert (refusal.value.code, refusal.value.facts["max_revisions"]) == ("revision_limit", 0)
    assert code_of(lambda: say(request, people["anna"])) == ""
