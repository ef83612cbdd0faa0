"""The workflow control-flow patterns 1 to 20 (Russell, ter Hofstede, van der Aalst, Mulyar:
Workflow Control-Flow Patterns, 2006) that definitions can express; the README has the table."""

from typing import Any

import pytest

from tests.db.engine.blocks import parallel, sequential
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, statuses, steps_of, task
from tests.db.engine.test_branches import condition
from workflows.models import WorkflowExecution
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db


def order_of(execution: WorkflowExecution) -> list[str]:
    """Return the steps in the order in which they began."""
    rows = steps_of(execution).values()
    return [row.name for row in sorted(rows, key=lambda row: row.started_at) if row.started_at]


def ran(execution: WorkflowExecution) -> set[str]:
    return {name for name, status in statuses(execution).items() if status == "completed"}


def status_of(execution: WorkflowExecution) -> str:
    return WorkflowExecution.objects.get(id=execution.id).status


def test_1_sequence(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]), task("c", after=["b"]))
    hand.work()
    assert order_of(execution) == ["a", "b", "c"]


def test_2_parallel_split_and_3_synchronization(scene: Scene, hand: DriverByHand) -> None:
    scene.run(
        task("a"),
        task("b", after=["a"]),
        task("c", after=["a"]),
        task("join", after=["b", "c"]),
    )
    hand.turn()
    hand.finish("a")
    assert set(hand.begun) == {"b", "c"}
    hand.finish("b")
    assert set(hand.begun) == {"c"}
    hand.finish("c")
    assert set(hand.begun) == {"join"}


def test_4_exclusive_choice_and_5_simple_merge(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        condition("which", "1 < 2", branches={"true": ["yes"], "false": ["no"]}),
        task("yes", after=["which"]),
        task("no", after=["which"]),
        task("merge", after=["yes", "no"], trigger_rule="none_failed_min_one_success"),
    )
    hand.work()
    assert ran(execution) == {"which", "yes", "merge"}


@pytest.mark.parametrize(("amount", "chosen"), [(5, {"big"}), (50, {"big", "huge"}), (1, set())])
def test_6_multi_choice_and_7_structured_synchronizing_merge(
    scene: Scene, hand: DriverByHand, amount: int, chosen: set[str]
) -> None:
    execution = scene.run(
        task("in", inputs={"amount": amount}),
        task("big", after=["in"], condition_expression="steps['in'].amount > 4"),
        task("huge", after=["in"], condition_expression="steps['in'].amount > 40"),
        task("merge", after=["big", "huge", "in"], trigger_rule="none_failed_min_one_success"),
    )
    hand.work()
    assert ran(execution) == {"in", "merge"} | chosen


def test_9_structured_discriminator(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("a"), task("b"), task("first", after=["a", "b"], trigger_rule="one_success")
    )
    hand.turn()
    hand.finish("b")
    assert set(hand.begun) == {"a", "first"}
    hand.finish("first")
    hand.finish("a")
    assert order_of(execution).count("first") == 1
    assert status_of(execution) == "completed"


def test_11_implicit_termination(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]), task("alone"))
    hand.work()
    assert status_of(execution) == "completed"


def test_12_multiple_instances_without_synchronization(scene: Scene, hand: DriverByHand) -> None:
    scene.run(parallel("each", task("a"), for_each=[1, 2]), task("beside"))
    hand.turn()
    assert set(hand.begun) == {"a[0]", "a[1]", "beside"}


def test_13_multiple_instances_known_at_design_time(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        parallel("each", task("a"), for_each=["x", "y", "z"]), task("after", after=["each"])
    )
    hand.work()
    assert ran(execution) == {"a[0]", "a[1]", "a[2]", "each", "after"}


def test_14_multiple_instances_known_at_run_time(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("find", inputs={"found": [1, 2]}),
        parallel("each", task("a"), after=("find",), for_each="${steps.find.found}"),
        task("after", after=["each"]),
    )
    hand.work()
    assert ran(execution) == {"find", "a[0]", "a[1]", "each", "after"}


@pytest.mark.parametrize(("outcome", "path"), [("approved", "ship"), ("rejected", "mend")])
def test_16_deferred_choice(scene: Scene, hand: DriverByHand, outcome: str, path: str) -> None:
    execution = scene.run(
        gate("ask", on_reject="continue"),
        condition(
            "which",
            "steps.ask.approved",
            after=("ask",),
            branches={"true": ["ship"], "false": ["mend"]},
        ),
        task("ship", after=["which"]),
        task("mend", after=["which"]),
    )
    hand.work()
    scene.decide(execution, outcome, "Because")
    hand.work()
    assert ran(execution) == {"ask", "which", path}


def test_17_interleaved_parallel_routing(scene: Scene, hand: DriverByHand) -> None:
    scene.run(
        parallel("p", task("a"), task("b"), task("b2", after=["b"]), max_concurrency=1),
    )
    seen = []
    hand.turn()
    while hand.begun:
        assert len(hand.begun) == 1
        seen += hand.begun
        hand.finish(*hand.begun)
    assert sorted(seen) == ["a", "b", "b2"]
    assert seen.index("b") < seen.index("b2")


def test_20_cancel_case(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    cancel_execution(execution.id, user=scene.users["operator"])
    hand.finish("a")
    assert statuses(execution) == {"a": "cancelled"}
    assert status_of(execution) == "cancelled"


def test_structured_loop(scene: Scene, hand: DriverByHand) -> None:
    """Pattern 21, which stands for 10, arbitrary cycles, where the cycle has one way in and out."""
    execution = scene.run(sequential("loop", task("a"), repeat_until="index == 2"))
    hand.work()
    assert ran(execution) == {"a[0]", "a[1]", "a[2]", "loop"}


def test_cancelling_a_region_by_its_time(scene: Scene, hand: DriverByHand) -> None:
    """What stands for 19, cancel activity, and 25, cancel region: a limit in time."""
    region: dict[str, Any] = parallel("region", task("slow"), timeout_seconds=1)
    execution = scene.run(region, task("after", after=["region"], trigger_rule="all_done"))
    hand.turn()
    hand.turn(ahead=2.0)
    assert statuses(execution) == {"region": "timeout", "slow": "cancelled", "after": "running"}
