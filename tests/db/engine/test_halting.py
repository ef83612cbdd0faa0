"""What a failure lets not start any more in a run with ``fail_fast``, and what it lets."""

from typing import Any

import pytest

from tests.db.engine.blocks import parallel, sequential, status_of, taken_over
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, statuses, task
from workflows.core.outcomes import Failed
from workflows.models import WorkflowExecution

pytestmark = pytest.mark.django_db

AWAITS = {"name": "hold", "step_type": "wait", "config": {"event": "never"}}
BROKEN = Failed("broken", "It broke", is_final=True)


def run(scene: Scene, *steps: Any) -> WorkflowExecution:
    return scene.run(*steps, config={"fail_fast": True})


def test_it_is_not_forgotten_when_the_run_is_read_again(scene: Scene, hand: DriverByHand) -> None:
    execution = run(
        scene,
        parallel("block", task("bad"), AWAITS),
        gate(),
        task("after", after=["gate"]),
    )
    hand.turn()
    hand.turn(hand.result("bad", BROKEN))
    hand = taken_over(hand)
    hand.turn()
    scene.decide(execution)
    hand.turn()
    assert not hand.begun
    assert statuses(execution)["after"] == "skipped upstream_failed"


def test_a_block_whose_rule_accepts_failures_runs_whole(scene: Scene, hand: DriverByHand) -> None:
    execution = run(
        scene,
        task("bad"),
        task("beside"),
        task("next", after=["beside"]),
        sequential(
            "tidy",
            task("one"),
            parallel("each", task("two"), for_each=["a", "b"], max_concurrency=1),
            after=("bad",),
            trigger_rule="all_done",
        ),
    )
    hand.turn()
    hand.turn(hand.result("bad", BROKEN))
    hand.finish("beside")
    for step in ("one", "two[0]", "two[1]"):
        assert set(hand.begun) == {step}
        hand.finish(step)
    found = statuses(execution)
    assert (found["tidy"], found["next"]) == ("completed", "skipped upstream_failed")
    assert status_of(execution) == "failed"


def test_a_failure_in_such_a_block_ends_it_too(scene: Scene, hand: DriverByHand) -> None:
    execution = run(
        scene,
        task("bad"),
        parallel(
            "tidy",
            task("one"),
            for_each=["a", "b"],
            max_concurrency=1,
            after=("bad",),
            trigger_rule="all_done",
        ),
    )
    hand.turn()
    hand.turn(hand.result("bad", BROKEN))
    hand.turn(hand.result("one[0]", BROKEN))
    assert not hand.begun
    assert statuses(execution)["tidy"] == "failed"
    assert status_of(execution) == "failed"


@pytest.mark.parametrize("is_read_anew", [False, True])
def test_a_block_that_had_begun_goes_on_with_what_its_rule_allows(
    scene: Scene, hand: DriverByHand, is_read_anew: bool
) -> None:
    execution = run(
        scene,
        task("bad"),
        parallel(
            "tidy", task("one"), for_each=["a", "b"], max_concurrency=1, trigger_rule="always"
        ),
    )
    hand.turn()
    hand.turn(hand.result("bad", BROKEN))
    if is_read_anew:
        hand = taken_over(hand)
    for number in range(2):
        hand.turn()
        hand.finish(f"one[{number}]")
    assert statuses(execution)["tidy"] == "completed"
    assert status_of(execution) == "failed"
