"""Rounds of blocks after a retry, in the hands of a driver that reads them anew."""

import pytest

from tests.db.engine.blocks import parallel, sequential, status_of, taken_over
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, task
from workflows.core.outcomes import Failed
from workflows.services.verbs import pause_execution, resume_execution, retry_execution

pytestmark = pytest.mark.django_db

BROKEN = Failed("broken", "It broke", is_final=True)


def test_no_more_rounds_are_done_anew_at_once_than_the_block_allows(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(parallel("each", task("a"), for_each=[1, 2, 3], max_concurrency=1))
    hand.turn()
    for number in range(3):
        hand.turn(hand.result(f"a[{number}]", BROKEN))
    retry_execution(execution.id, user=scene.users["operator"])
    hand.turn()
    for number in range(3):
        hand = taken_over(hand)
        hand.turn()
        assert list(hand.begun) == [f"a[{number}]"]
        hand.finish(f"a[{number}]")
    assert status_of(execution) == "completed"


def test_after_a_pause_a_loop_goes_on_in_order(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        sequential(
            "loop",
            task("poll", config={"continue_on_error": True}),
            task("use", trigger_rule="all_done"),
            for_each=[1, 2, 3],
        )
    )
    hand.turn()
    for number in range(3):
        hand.turn(hand.result(f"poll[{number}]", BROKEN))
        hand.turn(hand.result(f"use[{number}]", BROKEN if number == 2 else None))
    retry_execution(execution.id, user=scene.users["operator"])
    hand.turn()
    for number in range(3):
        assert list(hand.begun) == [f"poll[{number}]"]
        pause_execution(execution.id, user=None)
        hand.finish(f"poll[{number}]")
        resume_execution(execution.id, user=None)
        hand.turn()
    assert list(hand.begun) == ["use[2]"]
    hand.finish("use[2]")
    assert status_of(execution) == "completed"
