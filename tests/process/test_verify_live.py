"""``manage.py verify`` while the engine works, and while its workers die."""

import pytest

from tests.process.engine_cluster import Cluster, Killer, cluster
from tests.process.installation import eventually

__all__ = ["cluster"]

RUNS = 60


@pytest.mark.parametrize("kills", [False, True])
def test_what_is_under_way_is_no_violation(cluster: Cluster, kills: bool) -> None:
    # What has died is found out at once; a process that only waits for the processor is not dead.
    cluster.installation.environment["MGX_LEASE_SECONDS"] = "10"
    cluster.run(f"scenes.start(scenes.publish(scenes.STEPS), {RUNS})")
    cluster.start()
    cluster.run_in_background("decide_everything()")
    killer = Killer(cluster, seed=1)
    live = 0
    for _ in range(3):
        if kills:
            eventually(lambda: len(cluster.drivers()) == 2, 60, "both drivers", cluster.log)
            killer.kill_a_worker()
            cluster.keep_running()
        live += cluster.live_runs() > 0
        done = cluster.installation.manage("verify", check=False)
        assert done.returncode == 0, done.stdout
        assert done.stdout.startswith("ok: ")
    assert live, "everything was over before it was looked at"
    cluster.wait_for_the_end(60)


def test_a_violation_is_a_line_and_exit_code_1(cluster: Cluster) -> None:
    cluster.run("scenes.start(scenes.publish(scenes.STEPS), 1)")
    cluster.run("from workflows.models import Event; Event.objects.update(actor='')")
    done = cluster.installation.manage("verify", check=False)
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith("I9: nobody is named for the event 1 of")
    assert "1 violation" in done.stderr
