"""The engine's real processes, killed and stopped while they work."""

import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.process.engine_cluster import IS_LONG, SCALE, Cluster, Killer, cluster, seeds
from tests.process.installation import eventually

__all__ = ["cluster"]

Note = Callable[[str, object], None]
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


@pytest.mark.promise("P2 kill -9 of workers under load")
@pytest.mark.parametrize("seed", seeds())
def test_killing_workers_at_random_moments_loses_and_repeats_nothing(
    busy: Cluster, record_property: Note, seed: int
) -> None:
    killer = Killer(busy, seed)
    for _ in range(4 * SCALE):
        killer.wait()
        killer.kill_a_worker()
        busy.keep_running()
    busy.wait_for_the_end(PATIENCE)
    assert busy.statuses() == {"completed": RUNS}
    busy.check()
    record_property("figures", f"{4 * SCALE} workers killed, {RUNS} runs completed")


@pytest.mark.parametrize("seed", seeds())
def test_after_the_whole_cluster_was_killed_a_new_one_goes_on(busy: Cluster, seed: int) -> None:
    killer = Killer(busy, seed)
    # One that runs whenever everything is killed is not to blame, but by default five times are
    # enough to give it up.
    busy.installation.environment["MGX_MAX_CRASHES"] = str(5 + SCALE)
    for _ in range(SCALE):
        killer.wait()
        busy.kill_everything()
        busy.start()
    busy.wait_for_the_end(PATIENCE)
    assert busy.statuses() == {"completed": RUNS}
    busy.check()


@pytest.mark.promise("P21 drivers restarted one after the other under load")
def test_a_cluster_that_is_asked_to_stop_hands_back_what_it_cannot_finish(
    cluster: Cluster, record_property: Note
) -> None:
    """A rolling restart: what takes longer than a cluster waits is begun again, what does not ends
    where it is, and nothing that was interrupted is charged for it."""
    restarts, drain = (5, 10) if IS_LONG else (2, 3)
    cluster.installation.environment["MGX_DRAIN_SECONDS"] = str(drain)
    cluster.run(
        f'steps = [*scenes.STEPS, scenes.step("long", "left", seconds={2 * drain})];'
        f"scenes.start(scenes.publish(steps), {RUNS})"
    )
    cluster.start()
    cluster.run_in_background("decide_everything()")
    query = cluster.installation.query
    steps = "SELECT attempts, crashes FROM workflows_workflowstepexecution"
    is_long = f"{steps} WHERE name = 'long' AND status"
    handed_back = 0
    for _ in range(restarts):
        eventually(lambda: query(f"{is_long} = 'running'"), 60, "long steps", cluster.log)
        assert cluster.terminate() == 0
        owned = query(
            "SELECT count(*) FROM workflows_workflowexecution WHERE driver_id IS NOT NULL"
        )
        assert owned == [(0,)]
        interrupted = query(f"{is_long} = 'retrying'")
        assert set(interrupted) == {(0, 0)}
        handed_back += len(interrupted)
        cluster.start()
    cluster.wait_for_the_end(PATIENCE)
    assert cluster.statuses() == {"completed": RUNS}
    assert query(f"{steps} WHERE attempts > 1 OR crashes > 0") == []
    cluster.check(repeats_attempts=True)
    began = Counter((run, name) for run, name, *_ in cluster.ledger())
    assert {name for (_, name), times in began.items() if times > 1} == {"long"}
    record_property(
        "figures",
        f"{restarts} restarts under {RUNS} runs, {handed_back} steps handed back, none charged",
    )


@pytest.mark.promise("P3 a worker stopped until it was fenced, then let go on")
def test_a_worker_that_was_only_asleep_cannot_write_any_more(
    busy: Cluster, record_property: Note
) -> None:
    sleeper = busy.drivers()[0]
    busy.put_to_sleep(sleeper)
    try:
        eventually(lambda: sleeper not in busy.drivers(), 30, "its fencing", busy.log)
    finally:
        os.kill(sleeper, signal.SIGCONT)
    busy.wait_for_the_end(PATIENCE)
    assert busy.statuses() == {"completed": RUNS}
    busy.check()
    record_property("figures", f"{RUNS} of {RUNS} runs completed, no attempt twice")


#: Tasks that end their worker, or nearly, and the error that their runs end with.
POISON = {"die": "worker_lost", "hog": "error", "hold": "worker_lost"}
POISON |= {"crash": "worker_lost"} if IS_LONG else {}


@pytest.mark.promise("P17 steps that end their worker beside healthy runs")
def test_a_step_that_kills_its_worker_is_given_up_and_the_others_complete(
    cluster: Cluster, record_property: Note
) -> None:
    cluster.installation.environment["MGX_LOOP_SILENCE_SECONDS"] = "2"
    cluster.run(
        "steps = [scenes.step('long', seconds=0.5), scenes.step('next', 'long')];"
        "workflow = scenes.publish(steps); scenes.start(workflow, 20)"
    )
    for name in POISON:
        cluster.run(
            "from workflows.models import Workspace;"
            "from workflows.services.definitions import create_workflow;"
            f"steps = [scenes.step('poison', task={name!r}, seconds=0)];"
            f"document = {{'name': {name!r}, 'max_retries': 0, 'steps': steps}};"
            "workspace = Workspace.objects.get();"
            "workflow = create_workflow(workspace=workspace, document=document, user=None);"
            "scenes.start(workflow, 1)"
        )
    cluster.start()
    cluster.wait_for_the_end(PATIENCE)
    ends = dict(
        cluster.installation.query(
            "SELECT w.name, e.error_code FROM workflows_workflowexecution e"
            " JOIN workflows_workflow w ON w.id = e.workflow_id WHERE e.status = 'failed'"
        )
    )
    assert ends == POISON
    assert cluster.statuses() == {"completed": 20, "failed": len(POISON)}
    cluster.check()
    record_property("figures", f"{', '.join(POISON)} given up, 20 of 20 others completed")
