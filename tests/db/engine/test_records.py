"""The records of decisions: their chain, what takes one back, and receipts of them."""

import copy
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from approvals.ledger import KEYS, content_of, hash_of
from approvals.models import ApprovalDecision, DecisionChain, Door, WorkflowStepApproval
from approvals.services.asking import create_approval_request
from approvals.services.decisions import Decision, DecisionResult, decide, decide_many
from approvals.services.receipts import check_receipt, receipt
from approvals.services.retraction import can_retract, retract
from approvals.timers import expire
from mgx.verify import find_violations
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.conftest import ask as query
from tests.db.engine.scenes import Scene, events_of, gate, steps_of, task
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.errors import MgxError
from workflows.events import append_events
from workflows.models import Membership, Timer, User, Workspace
from workflows.services.executions import cancel_execution
from workflows.services.verbs import pause_execution, resume_execution

pytestmark = pytest.mark.django_db

Ask = Callable[..., WorkflowStepApproval]


@pytest.fixture
def ask(scene: Scene, hand: DriverByHand) -> Ask:
    """Return a function that runs a workflow up to its gate and returns the request."""

    def make(**approval: Any) -> WorkflowStepApproval:
        run = scene.run(gate("g", **approval), task("act", after=["g"]))
        hand.turn()
        return WorkflowStepApproval.objects.get(workflow_execution=run)

    return make


def say(
    request: WorkflowStepApproval, user: User, outcome: str = "approved", **fields: Any
) -> DecisionResult:
    return decide(Decision(request.id, outcome, **fields), user=user, door=Door.PAGE)


def take_back(request: WorkflowStepApproval, user: User) -> WorkflowStepApproval:
    return retract(request.id, user=user, door=Door.PAGE)


def code_of(act: Callable[[], Any]) -> str:
    """Return the code with which ``act`` is refused, and "" where it is not."""
    try:
        act()
    except MgxError as refusal:
        return refusal.code
    return ""


# --- the chain ----------------------------------------------------------------------------


def test_each_record_covers_the_one_before_it(scene: Scene, ask: Ask) -> None:
    approver, admin = scene.users["approver"], scene.users["admin"]
    ids = [ask(min_approvals=2).id for _ in range(2)]
    decide_many([Decision(i, "approved") for i in ids], user=approver, door=Door.API)
    say(ask(), admin, "rejected", feedback="“Nein” \u2603", response_data={"n": 1e22, "x": -0.0})
    records = list(ApprovalDecision.objects.order_by("record_number"))
    assert [record.record_number for record in records] == [1, 2, 3]
    assert [record.previous_hash for record in records] == ["", records[0].hash, records[1].hash]
    for record in records:
        assert hash_of(content_of([getattr(record, key) for key in KEYS])) == record.hash
    chain = DecisionChain.objects.get(workspace=scene.workspace)
    assert (chain.length, chain.head) == (3, records[2].hash)


def test_what_time_decides_is_on_record_too(scene: Scene, ask: Ask) -> None:
    request = ask(expires_after_seconds=60)
    say(ask(), scene.users["approver"])
    later = database_now() + timedelta(seconds=61)
    with transaction.atomic():
        append_events(expire([request.id], later), later)
    record = request.decisions.get()
    assert (record.record_number, record.outcome, record.user) == (2, "timeout", None)
    assert record.previous_hash


@pytest.mark.django_db(transaction=True)
def test_the_chain_has_no_gap_and_no_fork_however_many_decide_at_once(
    scene: Scene, make_member: Callable[..., User], other_workspace: Workspace
) -> None:
    people = [make_member(f"person{n}", scene.workspace, "approver") for n in range(8)]
    for person in people:
        Membership.objects.create(user=person, workspace=other_workspace, role="approver")
    operator = scene.users["operator"]
    Membership.objects.create(user=operator, workspace=other_workspace, role="operator")
    requests = [
        create_approval_request(workspace=workspace, title="T", user=operator)
        for workspace in (scene.workspace, other_workspace) * 8
    ]

    def act(number: int) -> int:
        mine = requests[number * 2 : number * 2 + 2]
        decisions = [Decision(r.id, "approved") for r in (mine if number % 2 else mine[::-1])]
        answers = decide_many(decisions, user=people[number], door=Door.API)
        return sum(isinstance(answer, DecisionResult) for answer in answers)

    assert sum(at_once(8, act)) == 16
    for chain in DecisionChain.objects.all():
        numbers = ApprovalDecision.objects.filter(workspace=chain.workspace).values_list(
            "record_number", flat=True
        )
        assert sorted(numbers) == list(range(1, 9))
        assert chain.length == 8


CHANGES = {
    "changed": ("UPDATE {d} SET comment = 'Never' WHERE record_number = 2", "hash says"),
    "relinked": ("UPDATE {d} SET previous_hash = '' WHERE record_number = 2", "hash says"),
    "left out": ("DELETE FROM {d} WHERE record_number = 2", "are there"),
    "cut off": ("DELETE FROM {d} WHERE record_number = 3", "are there"),
    "beheaded": ("UPDATE approvals_decisionchain SET head = 'x'", "not the head"),
    "shortened": ("UPDATE approvals_decisionchain SET length = 2", "beyond the end"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_verify_finds_a_record_that_was_tampered_with(scene: Scene, ask: Ask, how: str) -> None:
    request = ask(min_approvals=5)
    for role in ("approver", "editor", "admin"):
        say(request, scene.users[role])
    assert not list(find_violations(query))
    kept = list(ApprovalDecision.objects.values()), list(DecisionChain.objects.values())
    sql, told = CHANGES[how]
    with connection.cursor() as cursor:
        cursor.execute(sql.format(d="approvals_approvaldecision"))
        assert cursor.rowcount == 1
    violations = list(find_violations(query))
    assert any(told in violation for violation in violations), violations
    ApprovalDecision.objects.all().delete()
    ApprovalDecision.objects.bulk_create(ApprovalDecision(**row) for row in kept[0])
    DecisionChain.objects.update(**kept[1][0])


def test_a_chain_that_was_rewritten_does_not_follow(scene: Scene, ask: Ask) -> None:
    request = ask(min_approvals=5)
    for role in ("approver", "editor"):
        say(request, scene.users[role])
    first = ApprovalDecision.objects.get(record_number=1)
    kept = first.comment, first.hash
    first.comment = "Never"
    first.hash = hash_of(content_of([getattr(first, key) for key in KEYS]))
    first.save()
    [violation] = find_violations(query)
    assert "does not follow" in violation
    first.comment, first.hash = kept
    first.save()


def test_records_go_with_their_run_and_the_chain_goes_on(scene: Scene, ask: Ask) -> None:
    gone, kept = ask(), ask()
    say(gone, scene.users["approver"])
    say(kept, scene.users["approver"])
    run = gone.workflow_execution
    assert run
    run.delete()
    say(ask(), scene.users["approver"])
    assert sorted(ApprovalDecision.objects.values_list("record_number", flat=True)) == [2, 3]


# --- taking back --------------------------------------------------------------------------


def test_a_vote_can_be_taken_back_and_given_again(scene: Scene, ask: Ask) -> None:
    approver = scene.users["approver"]
    request = ask(min_approvals=2)
    say(request, approver)
    assert can_retract(request, approver)
    assert not can_retract(request, scene.users["admin"])
    assert take_back(request, approver) == request
    request.refresh_from_db()
    assert request.status == "pending"
    assert not can_retract(request, approver)
    assert code_of(lambda: take_back(request, approver)) == "nothing_to_retract"
    vote, retraction = request.decisions.order_by("record_number")
    assert (retraction.outcome, retraction.retracts, retraction.user) == (
        "retracted",
        vote,
        approver,
    )
    assert not say(request, scene.users["admin"]).is_final, "one is not two"
    assert say(request, approver).is_final
    assert request.workflow_execution_id
    assert len(events_of(request.workflow_execution_id, "decision_retracted")) == 1


def test_a_decision_can_be_taken_back_until_its_step_goes_on(
    scene: Scene, ask: Ask, hand: DriverByHand
) -> None:
    approver = scene.users["approver"]
    request = ask(required_approvers=["user123"])
    say(request, approver, "rejected", feedback="No")
    request.refresh_from_db()
    assert can_retract(request, approver)
    again = take_back(request, approver)
    assert (again.parent_approval, again.status, again.revision_count) == (request, "pending", 0)
    assert (again.digest, again.step_execution_id) == (request.digest, request.step_execution_id)
    request.refresh_from_db()
    assert (request.status, request.feedback) == ("rejected", "No")
    hand.work()
    assert request.workflow_execution
    assert steps_of(request.workflow_execution)["g"].status == "waiting"
    assert code_of(lambda: say(again, scene.users["admin"])) == "not_an_approver"
    say(again, approver)
    hand.work()
    assert steps_of(request.workflow_execution)["act"].status == "completed"
    assert not can_retract(again, approver)
    assert code_of(lambda: take_back(again, approver)) == "already_continued"
    assert code_of(lambda: take_back(request, approver)) == "nothing_to_retract"


def test_the_time_that_was_left_is_left_still(scene: Scene, ask: Ask) -> None:
    request = ask(expires_after_seconds=600, auto_approve_after_seconds=300)
    say(request, scene.users["approver"])
    moments = WorkflowStepApproval.objects.filter(id=request.id)
    request.refresh_from_db()
    assert request.responded_at
    assert request.expires_at
    long_ago = timedelta(seconds=500)
    moments.update(
        requested_at=request.requested_at - long_ago,
        responded_at=request.responded_at - long_ago,
        expires_at=request.expires_at - long_ago,
    )
    again = take_back(request, scene.users["approver"])
    timers = {timer.kind: timer.due_at for timer in Timer.objects.filter(subject_id=again.id)}
    assert set(timers) == {"approval_auto_approve", "approval_expiry"}
    for kind, seconds in (("approval_auto_approve", 300), ("approval_expiry", 600)):
        left = (timers[kind] - database_now()).total_seconds()
        assert seconds - 60 < left <= seconds


def test_while_a_run_is_paused_a_decision_can_be_taken_back(
    scene: Scene, ask: Ask, hand: DriverByHand
) -> None:
    request = ask()
    run = request.workflow_execution
    assert run
    pause_execution(run.id, user=scene.users["operator"])
    say(request, scene.users["approver"])
    hand.work()
    again = take_back(request, scene.users["approver"])
    say(again, scene.users["admin"], "rejected", feedback="No")
    resume_execution(run.id, user=scene.users["operator"])
    hand.work()
    assert steps_of(run)["g"].error_code == "approval_rejected"


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_has_lost_the_right_takes_nothing_back(scene: Scene, ask: Ask, role: str) -> None:
    approver = scene.users["approver"]
    request = ask(min_approvals=2)
    say(request, approver)
    Membership.objects.filter(user=approver).update(role=role)
    assert not can_retract(request, approver)
    assert code_of(lambda: take_back(request, approver)) == "not_an_approver"


def test_nothing_is_taken_back_once_the_run_has_ended(
    scene: Scene, ask: Ask, outsider: User
) -> None:
    request = ask()
    say(request, scene.users["approver"])
    assert request.workflow_execution_id
    cancel_execution(request.workflow_execution_id, user=scene.users["operator"])
    assert code_of(lambda: take_back(request, scene.users["approver"])) == "already_continued"
    assert code_of(lambda: take_back(request, outsider)) == "not_found"


def test_what_belongs_to_no_run_is_final(scene: Scene) -> None:
    request = create_approval_request(
        workspace=scene.workspace, title="T", user=scene.users["operator"]
    )
    say(request, scene.users["approver"])
    assert code_of(lambda: take_back(request, scene.users["approver"])) == "already_continued"


@pytest.mark.django_db(transaction=True)
def test_the_engine_and_who_takes_back_agree_on_one_end(
    scene: Scene, ask: Ask, hand: DriverByHand
) -> None:
    for _ in range(3):
        request = ask()
        run = request.workflow_execution
        assert run
        say(request, scene.users["approver"])
        lock = threading.Lock()

        def act(number: int, request: WorkflowStepApproval = request, lock: Any = lock) -> str:
            if number:
                return code_of(lambda: take_back(request, scene.users["approver"]))
            with lock:
                hand.turn()
            return ""

        _, code = at_once(2, act)
        step = steps_of(run)["g"]
        asked = WorkflowStepApproval.objects.filter(workflow_execution=run, status="pending")
        assert (code, step.status) in {("", "waiting"), ("already_continued", "completed")}
        assert asked.exists() == (code == "")


# --- receipts -----------------------------------------------------------------------------


def test_a_receipt_can_be_checked(scene: Scene, ask: Ask, outsider: User) -> None:
    approver = scene.users["approver"]
    request = ask(min_approvals=2)
    assert code_of(lambda: receipt(request.id, user=approver)) == "not_decided"
    say(request, approver, feedback="Fine")
    say(request, scene.users["admin"])
    given = receipt(request.id, user=scene.users["viewer"])
    assert (given["status"], given["digest"]) == ("approved", request.digest)
    assert [record["by"] for record in given["records"]] == ["user123", "admin"]
    assert check_receipt(given) == []
    assert code_of(lambda: receipt(request.id, user=outsider)) == "not_found"


def set_in(*way: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parts, last = way
        place: Any = document
        for part in parts:
            place = place[part]
        place[last] = to

    return change


def rehash(document: dict[str, Any]) -> None:
    record = document["records"][0]
    record["comment"] = "Never"
    record["hash"] = hash_of(content_of(record))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_in("records", 0, "comment", to="Never"), "was changed"),
        (rehash, "not on record"),
        (set_in("content", "title", to="Other"), "not that of the content"),
        (set_in("status", to="rejected"), "is approved"),
        (set_in("records", to=[]), "no receipt"),
        (set_in("version", to=2), "no receipt"),
        (set_in("records", 0, "id", to=[]), "no receipt"),
        (lambda document: document.clear(), "no receipt"),
        (lambda document: document["records"].pop(), "more decisions"),
    ],
)
def test_a_receipt_that_was_changed_is_told_from_one_that_was_not(
    scene: Scene, ask: Ask, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    request = ask(min_approvals=2)
    say(request, scene.users["approver"])
    say(request, scene.users["admin"])
    document = copy.deepcopy(receipt(request.id, user=scene.users["viewer"]))
    change(document)
    assert any(told in mistake for mistake in check_receipt(document)), check_receipt(document)


def test_what_is_no_receipt_is_said_to_be_none() -> None:
    for document in (None, [], "x", {"version": 1}, {"version": 1, "approval_id": "x"}):
        assert check_receipt(document) == ["This is no receipt."]
