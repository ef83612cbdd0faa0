"""A turn begins so much and no more; the turns that follow at once begin the rest."""

from collections.abc import Callable
from typing import Any

import pytest

from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, ended, gate, statuses, steps_of, task
from workflows.clock import database_now
from workflows.engine import budget, leases
from workflows.engine.driver import Driver
from workflows.models import WorkflowExecution, WorkflowStepExecution

pytestmark = pytest.mark.django_db

COUNT = 25


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "STEPS_A_TURN", 10)


def each(*steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    config |= {"for_each": list(range(COUNT)), "steps": list(steps)}
    return {"name": "each", "step_type": "parallel", "config": config}


def begun_by_turn(hand: DriverByHand, turns: int) -> list[list[str]]:
    """Take turns that nothing but the driver itself asks for after the first one."""
    found = []
    for number in range(turns):
        is_first = number == 0
        after = hand.turn(has_hint=is_first, is_inventory=is_first)
        found.append([context.name for context in after.start])
    return found


def items(first: int, last: int) -> list[str]:
    return [f"item[{number}]" for number in range(first, last)]


@pytest.mark.usefixtures("few_steps")
def test_the_items_of_a_block_begin_in_their_order_over_several_turns(
    scene: Scene, hand: DriverByHand
) -> None:
    run = scene.run(each(task("item", inputs={"n": "${index}"})), task("after", after=["each"]))
    # The block itself is one of the first ten.
    expected = [items(0, 9), items(9, 19), items(19, 25), []]
    assert begun_by_turn(hand, 4) == expected
    run.refresh_from_db()
    assert run.status == "running"
    hand.work()
    run.refresh_from_db()
    assert run.status == "completed"
    assert {s.attempts for s in steps_of(run).values()} == {1}


@pytest.mark.usefixtures("few_steps")
def test_steps_beside_each_other_begin_once_each_over_several_turns(
    scene: Scene, hand: DriverByHand
) -> None:
    names = [f"s{number}" for number in range(COUNT)]
    run = scene.run(*map(task, names), task("any", after=[*names[:2]], trigger_rule="one_success"))
    assert begun_by_turn(hand, 1) == [names[:10]]
    hand.turn(hand.result("s0"), has_hint=False, is_inventory=False)
    assert len(hand.begun) == 19
    begun_by_turn(hand, 2)
    assert sorted(hand.begun) == sorted([*names[1:], "any"])
    hand.work()
    assert set(statuses(run).values()) == {"completed"}
    assert {s.attempts for s in steps_of(run).values()} == {1}


def test_large_inputs_begin_a_few_at_a_time(
    scene: Scene, hand: DriverByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "BYTES_A_TURN", 10_000)
    scene.run(each(task("item", inputs={"text": "x" * 3_000})))
    assert begun_by_turn(hand, 3) == [items(0, 4), items(4, 8), items(8, 12)]


def test_what_gates_show_counts_too(
    scene: Scene, hand: DriverByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "BYTES_A_TURN", 10_000)
    run = scene.run(task("made", inputs={"text": "x" * 3_000}), *gates_after("made"))
    hand.work()
    gates = WorkflowStepExecution.objects.filter(execution=run, step_type="approval")
    assert 0 < gates.count() < COUNT
    for _ in range(COUNT):
        hand.turn(has_hint=False, is_inventory=False)
    assert gates.filter(status="waiting").count() == COUNT
    run.refresh_from_db()
    assert (run.status, run.driver) == ("waiting", None)


def gates_after(step: str) -> list[dict[str, Any]]:
    return [gate(f"g{number}", after=[step]) for number in range(COUNT)]


@pytest.mark.usefixtures("few_steps")
def test_steps_that_are_skipped_count_too(scene: Scene, hand: DriverByHand) -> None:
    no = {"name": "no", "step_type": "condition", "condition_expression": "1 > 2"}
    run = scene.run(each(no))
    rows = WorkflowStepExecution.objects.filter(execution=run)
    written = []
    for number in range(4):
        hand.turn(has_hint=number == 0, is_inventory=number == 0)
        written.append(rows.count())
    assert written == [10, 20, 26, 26]
    run.refresh_from_db()
    assert run.status == "completed"


@pytest.mark.usefixtures("few_steps")
def test_a_run_with_very_much_to_begin_keeps_no_other_waiting(
    scene: Scene, hand: DriverByHand
) -> None:
    wide = [scene.run(each(task("item"))) for _ in range(2)]
    small = scene.run(task("s"))
    begun_by_turn(hand, 2)
    assert statuses(small) == {"s": "running"}
    late = scene.run(task("s"))
    hand.turn()
    hand.turn()
    assert statuses(late) == {"s": "running"}
    begun_by_turn(hand, 6)
    for run in wide:
        assert sorted(statuses(run)) == sorted(["each", *items(0, COUNT)])


@pytest.mark.usefixtures("few_steps")
def test_who_takes_over_begins_what_had_not_begun(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(each(task("item")))
    assert begun_by_turn(hand, 1) == [items(0, 9)]
    leases.fence(hand.holdings.driver_id, database_now())
    other = DriverByHand()
    begun = begun_by_turn(other, 4)
    assert sorted(name for names in begun for name in names) == sorted(items(0, COUNT))
    other.work()
    run.refresh_from_db()
    assert run.status == "completed"
    crashes = {name: step.crashes for name, step in steps_of(run).items() if name != "each"}
    assert crashes == dict.fromkeys(items(0, 9), 1) | dict.fromkeys(items(9, COUNT), 0)


@pytest.mark.usefixtures("few_steps")
def test_a_stopping_driver_hands_back_what_it_has_not_begun(
    scene: Scene, hand: DriverByHand
) -> None:
    run = scene.run(each(gate("item")))
    hand.turn()
    hand.turn(is_draining=True)
    row = WorkflowExecution.objects.get(id=run.id)
    assert row.driver is None
    assert row.wake_at is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("few_steps")
def test_the_turns_follow_at_once(scene: Scene, launch: Callable[[], Driver]) -> None:
    launch()
    runs = [scene.run(each(task("item")), each(task("more")) | {"name": "two"}) for _ in range(3)]
    for run in runs:
        assert ended(run).status == "completed"


@pytest.mark.parametrize("outcome", ["approved", "rejected"])
def test_what_decisions_rule_out_commits_with_them_however_full_the_turn_is(
    scene: Scene, hand: DriverByHand, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    steps = gate(on_reject="tidy"), task("act", after=["gate"]), task("tidy", after=["gate"])
    run = scene.run(each(*steps))
    hand.work()
    for request in WorkflowStepApproval.objects.pending():
        decision = Decision(request.id, outcome, "So be it")
        decide(decision, user=scene.users["approver"], door=Door.API)
    monkeypatch.setattr(budget, "STEPS_A_TURN", 3)
    hand.turn()
    leases.fence(hand.holdings.driver_id, database_now())
    other = DriverByHand()
    other.work()
    for _ in range(COUNT):
        other.work()
    goes_to, passed_over = ("act", "tidy") if outcome == "approved" else ("tidy", "act")
    found = statuses(run)
    for number in range(COUNT):
        assert found[f"{goes_to}[{number}]"] == "completed"
        assert found[f"{passed_over}[{number}]"] == "skipped branch_not_taken"
