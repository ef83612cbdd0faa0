"""Questions: nothing is decided, and the clock stands still until the last one is answered."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from approvals.models import ApprovalQuestion, Door, WorkflowStepApproval
from approvals.services.clock import timers_of
from approvals.services.decisions import Decision, decide
from approvals.services.questions import answer, ask
from approvals.services.requests import cancel, create_approval_request
from approvals.timers import auto_approve, expire
from tests.db.engine.passing import let_pass
from tests.db.engine.scenes import Scene
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.errors import MgxError
from workflows.models import Event, Timer, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_(scene: Scene) -> WorkflowStepApproval:
    """A request that is to approve itself after 50 seconds, and would expire after 100."""
    return create_approval_request(
        workspace=scene.workspace,
        title="Buy it?",
        user=scene.users["operator"],
        auto_approve_after_seconds=50,
        expires_after_seconds=100,
    )


def refusal_of(act: Callable[[], Any]) -> str:
    try:
        act()
    except MgxError as refusal:
        return refusal.code
    return ""


def test_a_question_stops_the_clock_and_its_answer_lets_it_go_on(
    scene: Scene, request_: WorkflowStepApproval
) -> None:
    let_pass(40)
    question = ask(request_.id, user=scene.users["approver"], body="For whom?")
    assert let_pass(1_000) == []
    assert not Timer.objects.exists()
    answer(question.id, user=scene.users["operator"], body="For everybody")
    request_.refresh_from_db()
    assert request_.clock_stopped_at is None
    assert 1_000 <= request_.stood_still_seconds < 1_010
    assert let_pass(9) == []
    assert let_pass(1) == ["approval_granted"]


def test_a_timer_that_was_about_to_fire_as_the_question_came_does_nothing(
    scene: Scene, request_: WorkflowStepApproval
) -> None:
    ask(request_.id, user=scene.users["approver"], body="For whom?")
    now = database_now() + timedelta(seconds=75)
    assert auto_approve([request_.id], now) == []
    assert expire([request_.id], now + timedelta(seconds=75)) == []
    assert WorkflowStepApproval.objects.get().status == "pending"


def test_its_deadline_comes_later_by_as_long_as_it_stood_still(
    scene: Scene, request_: WorkflowStepApproval
) -> None:
    first = ask(request_.id, user=scene.users["approver"], body="For whom?")
    let_pass(300)
    second = ask(request_.id, user=scene.users["admin"], body="Why now?")
    answer(first.id, user=scene.users["operator"], body="For everybody")
    request_.refresh_from_db()
    assert request_.clock_stopped_at is not None
    let_pass(300)
    answer(second.id, user=scene.users["operator"], body="It is cheap")
    request_.refresh_from_db()
    assert request_.expires_at is not None
    late = request_.expires_at - request_.requested_at - timedelta(seconds=700)
    assert timedelta(0) <= late < timedelta(seconds=10)
    timers = {timer.kind: timer.due_at for timer in Timer.objects.all()}
    assert timers == {timer.kind: timer.due_at for timer in timers_of(request_)}
    assert len(timers) == 2


def test_what_is_asked_and_answered_is_told(scene: Scene, request_: WorkflowStepApproval) -> None:
    question = ask(request_.id, user=scene.users["approver"], body="For whom?")
    answer(question.id, user=scene.users["editor"], body="For everybody")
    asked, answered = Event.objects.filter(event_type__startswith="question_").order_by("seq")
    assert (asked.actor, asked.data["question"]) == ("user:user123", "For whom?")
    assert (answered.actor, answered.data["answer"]) == ("user:editor", "For everybody")
    assert asked.approval_id == answered.approval_id == request_.id


def test_it_may_be_decided_meanwhile_and_the_question_ends_with_it(
    scene: Scene, request_: WorkflowStepApproval
) -> None:
    question = ask(request_.id, user=scene.users["approver"], body="For whom?")
    let_pass(1_000)
    decide(Decision(request_.id, "approved"), user=scene.users["admin"], door=Door.API)
    operator = scene.users["operator"]
    assert refusal_of(lambda: answer(question.id, user=operator, body="x")) == "already_decided"
    assert not Timer.objects.exists()


def test_it_may_be_withdrawn_meanwhile(scene: Scene, request_: WorkflowStepApproval) -> None:
    ask(request_.id, user=scene.users["approver"], body="For whom?")
    assert cancel(request_.id, user=scene.users["operator"]).status == "cancelled"


@pytest.mark.parametrize(
    ("role", "code"), [("viewer", "not_an_approver"), ("operator", "not_an_approver")]
)
def test_only_who_may_decide_may_ask(
    scene: Scene, request_: WorkflowStepApproval, role: str, code: str, outsider: User
) -> None:
    assert refusal_of(lambda: ask(request_.id, user=scene.users[role], body="x")) == code
    assert refusal_of(lambda: ask(request_.id, user=outsider, body="x")) == "not_found"
    assert not ApprovalQuestion.objects.exists()


def test_who_asked_for_it_answers_or_an_operator(
    scene: Scene, request_: WorkflowStepApproval, outsider: User
) -> None:
    question = ask(request_.id, user=scene.users["approver"], body="For whom?")
    viewer = scene.users["viewer"]
    assert refusal_of(lambda: answer(question.id, user=viewer, body="x")) == "permission_denied"
    assert refusal_of(lambda: answer(question.id, user=outsider, body="x")) == "not_found"
    WorkflowStepApproval.objects.update(requested_by=viewer)
    assert refusal_of(lambda: answer(question.id, user=viewer, body="x")) == ""
    again = refusal_of(lambda: answer(question.id, user=scene.users["admin"], body="y"))
    assert again == "already_answered"


@pytest.mark.parametrize(
    ("body", "code"), [(" \n", "required"), ("x" * 10_001, "too_long"), ("a\0b", "nul_character")]
)
def test_a_bad_text_is_refused(
    scene: Scene, request_: WorkflowStepApproval, body: str, code: str
) -> None:
    approver = scene.users["approver"]
    assert refusal_of(lambda: ask(request_.id, user=approver, body=body)) == code
    question = ask(request_.id, user=approver, body="For whom?")
    assert refusal_of(lambda: answer(question.id, user=approver, body=body)) == code


def test_what_has_expired_cannot_be_asked_about(
    scene: Scene, request_: WorkflowStepApproval
) -> None:
    WorkflowStepApproval.objects.update(expires_at=database_now())
    approver = scene.users["approver"]
    assert refusal_of(lambda: ask(request_.id, user=approver, body="x")) == "expired"


@pytest.mark.django_db(transaction=True)
def test_of_many_who_answer_at_once_one_does_and_the_clock_goes_on_once(scene: Scene) -> None:
    request = create_approval_request(
        workspace=scene.workspace, title="T", user=scene.users["operator"]
    )
    question = ask(request.id, user=scene.users["approver"], body="For whom?")
    let_pass(100)
    people = [scene.users[role] for role in ("operator", "approver", "editor", "admin")]

    def act(number: int) -> str:
        return refusal_of(lambda: answer(question.id, user=people[number], body="x"))

    assert sorted(at_once(4, act)) == ["", *["already_answered"] * 3]
    request.refresh_from_db()
    assert 100 <= request.stood_still_seconds < 110
    assert Timer.objects.count() == 1
