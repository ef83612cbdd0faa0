"""The engine's real processes, killed and stopped while they work."""

import os
import signal

import pytest

from tests.process.engine_cluster import SCALE, Cluster, Killer, cluster, seeds
from tests.process.installation import eventually

__all__ = ["cluster"]

RUNS = 30 * SCALE
#: Seconds in which all runs end after the last fault.
PATIENCE = 60 * SCALE


@pytest.fixture
def busy(cluster: Cluster) -> Cluster:
    """A cluster with runs that have just started, and somebody who decides at their gates."""
    cluster.run(f"scenes.start(scenes.publish(scenes.STEPS), {RUNS})")
    cluster.start()
    cluster.run_in_background("decide_everything()")
    return cluster


@pytest.mark.parametrize("seed", seeds())
def test_killing_workers_at_random_moments_loses_and_repeats_nothing(
    busy: Cluster, seed: int
) -> None:
    killer = Killer(busy, seed)
    for _ in range(4 * SCALE):
        killer.wait()
        killer.kill_a_worker()
        busy.keep_running()
    busy.wait_for_the_end(PATIENCE)
    assert busy.statuses() == {"completed": RUNS}
    busy.check()


@pytest.mark.parametrize("seed", seeds())
def test_after_the_whole_cluster_was_killed_a_new_one_goes_on(busy: Cluster, seed: int) -> None:
    killer = Killer(busy, seed)
    for _ in range(SCALE):
        killer.wait()
        busy.kill_everything()
        busy.start()
    busy.wait_for_the_end(PATIENCE)
    assert busy.statuses() == {"completed": RUNS}
    busy.check()


def test_a_cluster_that_is_asked_to_stop_hands_back_what_it_cannot_finish(busy: Cluster) -> None:
    """A rolling restart: nothing that was interrupted is charged for it."""
    for _ in range(min(SCALE, 4)):
        busy.wait_for_half()
        assert busy.terminate() == 0
        owned = busy.installation.query(
            "SELECT count(*) FROM workflows_workflowexecution WHERE driver_id IS NOT NULL"
        )
        assert owned == [(0,)]
        busy.start()
    busy.wait_for_the_end(PATIENCE)
    assert busy.statuses() == {"completed": RUNS}
    charged = busy.installation.query(
        "SELECT name, attempts, crashes FROM workflows_workflowstepexecution"
        " WHERE attempts > 1 OR crashes > 0"
    )
    assert charged == []
    busy.check(repeats_attempts=True)


def test_a_worker_that_was_only_asleep_cannot_write_any_more(busy: Cluster) -> None:
    sleeper = busy.drivers()[0]
    busy.put_to_sleep(sleeper)
    try:
        eventually(lambda: sleeper not in busy.drivers(), 30, "its fencing", busy.log)
    finally:
        os.kill(sleeper, signal.SIGCONT)
    busy.wait_for_the_end(PATIENCE)
    assert busy.statuses() == {"completed": RUNS}
    busy.check()


def test_a_step_that_kills_its_worker_is_given_up_and_the_others_complete(
    cluster: Cluster,
) -> None:
    cluster.run(
        "steps = [scenes.step('long', seconds=0.5), scenes.step('next', 'long')];"
        "workflow = scenes.publish(steps); scenes.start(workflow, 10);"
        "deadly = [scenes.step('die', task='die', seconds=0)];"
        "from workflows.services.definitions import create_workflow;"
        "document = {'name': 'Deadly', 'steps': deadly};"
        "workspace = workflow.workspace;"
        "scenes.start(create_workflow(workspace=workspace, document=document, user=None), 1)"
    )
    cluster.start()
    cluster.wait_for_the_end(PATIENCE)
    assert cluster.statuses() == {"completed": 10, "failed": 1}
    failed = cluster.installation.query(
        "SELECT error_code FROM workflows_workflowexecution WHERE status = 'failed'"
    )
    assert failed == [("worker_lost",)]
    cluster.check()
