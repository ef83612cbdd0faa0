"""How many steps run at once: in a workspace, and in a queue of it."""

import pytest

from tests.db.engine.blocks import parallel
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, statuses, task
from workflows.core.outcomes import Failed
from workflows.models import QueueLimit, QueueSlot, WorkflowStepExecution
from workflows.services.access import create_workspace

pytestmark = pytest.mark.django_db


def running() -> int:
    return WorkflowStepExecution.objects.filter(status="running").count()


def test_no_more_steps_of_a_queue_run_than_its_limit(scene: Scene, hand: DriverByHand) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=2)
    scene.run(*[task(f"g{n}", config={"queue": "gpu"}) for n in range(5)], task("free"))
    hand.turn()
    assert set(hand.begun) == {"g0", "g1", "free"}
    for turn in range(1, 20):
        if hand.begun:
            hand.finish(next(iter(hand.begun)))
        hand.turn(ahead=turn)
        assert sum(name.startswith("g") for name in hand.begun) <= 2
    assert not hand.begun
    assert WorkflowStepExecution.objects.filter(status="completed").count() == 6


def test_the_limit_of_a_workspace_counts_all_its_steps(scene: Scene, hand: DriverByHand) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="", max_running=3)
    scene.run(*[task(f"a{n}") for n in range(3)], task("q", config={"queue": "q"}))
    scene.run(task("other"))
    hand.turn()
    assert running() == len(hand.begun) == 3


def test_two_drivers_count_together(scene: Scene, hand: DriverByHand) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=3)
    workflow = scene.workflow(*[task(f"g{n}", config={"queue": "gpu"}) for n in range(2)])
    for _ in range(4):
        scene.start(workflow)
    another = DriverByHand()
    hand.turn(drivers=2)
    another.turn(drivers=1)
    assert running() == 3


def test_a_place_is_free_again_once_its_step_has_ended(scene: Scene, hand: DriverByHand) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=1)
    scene.run(task("a", config={"queue": "gpu"}), task("b", config={"queue": "gpu"}))
    hand.turn()
    assert set(hand.begun) == {"a"}
    hand.finish("a")
    hand.turn(ahead=1.0)
    assert set(hand.begun) == {"b"}
    assert [slot.queue for slot in QueueSlot.objects.all()] == ["gpu"]


def test_another_workspace_has_limits_of_its_own(scene: Scene, hand: DriverByHand) -> None:
    other = create_workspace(name="Other", slug="other-limits")
    QueueLimit.objects.create(workspace=other, queue="", max_running=1)
    scene.run(*[task(f"a{n}") for n in range(3)])
    hand.turn()
    assert len(hand.begun) == 3


def test_a_retry_that_waits_for_its_queue_keeps_its_place_in_its_block(
    scene: Scene, hand: DriverByHand
) -> None:
    """The block lets one step be under way, and the step that is to be tried again is that one."""
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=1)
    again = task("again", config={"queue": "gpu", "retry": {"initial_seconds": 2, "jitter": 0}})
    run = scene.run(parallel("block", again, max_concurrency=1), task("beside"))
    hand.turn()
    scene.run(task("other", config={"queue": "gpu"}))
    hand.turn(hand.result("again", Failed("error", "not yet")))
    assert set(hand.begun) == {"beside", "other"}
    hand.turn(ahead=3)
    assert "again" not in hand.begun
    hand.turn(hand.result("other"), ahead=3)
    hand.turn(ahead=4)
    assert set(hand.begun) == {"beside", "again"}
    hand.finish("beside", "again")
    assert statuses(run) == dict.fromkeys(["block", "again", "beside"], "completed")
