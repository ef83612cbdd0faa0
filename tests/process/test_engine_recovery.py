"""What is promised of real processes: they die at a commit, runs are cancelled under them, and
everything that the supervisor runs is killed while there is work."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.process.engine_cluster import (
    IS_LONG,
    Cluster,
    Killer,
    cluster,
    seeds,
    with_suppressed,
)
from tests.process.installation import Up, eventually

__all__ = ["cluster"]

Note = Callable[[str, object], None]

#: What has nothing to do with the database is tried on one.
once = pytest.mark.skipif(
    os.environ.get("DATABASE_URL", "").startswith("postgres") and not IS_LONG,
    reason="the same on every database: run on SQLite, and by make chaos",
)


@pytest.mark.promise("P1 the worker exits right before and right after a run's commits")
def test_a_worker_that_dies_at_a_commit_repeats_no_committed_step(
    cluster: Cluster, record_property: Note
) -> None:
    """One run after the other; in each its driver dies at a later commit."""
    commits = list(range(1, 100)) if IS_LONG else [1, 5]
    cluster.run("scenes.publish(scenes.STEPS)")
    cluster.start()
    living = cluster.run_in_background(f"die_at_commits({commits})")

    def is_over() -> bool:
        cluster.keep_running()
        return living.poll() is not None

    eventually(is_over, 30 * len(commits), "all the deaths", cluster.log)
    assert living.returncode == 0
    deaths = (cluster.installation.directory / "deaths").read_text().splitlines()
    assert len(deaths) >= 2 * min(len(commits), 5)
    assert set(cluster.statuses()) == {"completed"}
    lost = cluster.installation.query(
        "SELECT name FROM workflows_workflowstepexecution WHERE status IN ('failed', 'timeout')"
    )
    assert lost == []
    cluster.check()
    record_property("figures", f"{len(deaths)} deaths, every run completed, no step repeated")


@pytest.mark.promise("P4 30 runs cancelled at random moments")
@pytest.mark.parametrize("seed", seeds()[:3])
def test_after_a_cancellation_nothing_starts(
    cluster: Cluster, record_property: Note, seed: int
) -> None:
    cluster.run("scenes.start(scenes.publish(scenes.STEPS), 30)")
    cluster.start()
    cluster.run_in_background("decide_everything()")
    assert cluster.run_in_background(f"cancel_everything({seed})").wait(60) == 0
    cluster.wait_for_the_end(60)
    told = (cluster.installation.directory / "cancelled").read_text().split()
    cancelled = dict(zip(told[::2], map(float, told[1::2]), strict=True))
    assert cluster.statuses().get("cancelled", 0) == len(cancelled) > 5
    time.sleep(1)  # for what would start although it must not
    late = cluster.installation.query(
        "SELECT s.name FROM workflows_workflowstepexecution s"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        " WHERE e.status = 'cancelled' AND s.started_at > e.completed_at"
    )
    assert late == []
    cluster.check()
    begun = [step for run, step, _, _, at in cluster.ledger() if at > cancelled.get(run, at) + 0.5]
    assert begun == []
    record_property("figures", f"{len(cancelled)} cancelled, 0 later starts")


@pytest.mark.promise("P2 kill -9 of any process of manage.py up, under load")
@once
@pytest.mark.parametrize("seed", seeds()[:1])
def test_whatever_of_it_is_killed_all_runs_end(
    cluster: Cluster, start_up: Callable[..., Up], record_property: Note, seed: int
) -> None:
    """Web, cluster, sentinel, workers, monitor, pusher: one after the other, as the seed says."""
    seconds, (least, most) = (600, (3, 8)) if IS_LONG else (4, (0.4, 1.2))
    runs = 40 if IS_LONG else 20
    cluster.run(f"scenes.start(scenes.publish(scenes.STEPS), {runs})")
    up = start_up()
    up.wait_until_well()
    cluster.run_in_background("decide_everything()")
    killer = Killer(cluster, seed)
    kills: dict[str, int] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(killer.between(least, most))
        roles = {name: pid for name, pid in up.roles().items() if name != "supervisor"}
        if roles:
            role = killer.choose(sorted(roles))
            with_suppressed(lambda pid=roles[role]: os.kill(pid, signal.SIGKILL))
            kills[role] = kills.get(role, 0) + 1
        if IS_LONG and cluster.live_runs() < runs // 2:
            cluster.run(f"scenes.start(scenes.Workflow.objects.get(), {runs})")
            cluster.run_in_background("decide_everything()")
    last = time.monotonic()
    eventually(lambda: cluster.live_runs() == 0, 60, "the end of all runs", up.log)
    took = time.monotonic() - last
    assert set(cluster.statuses()) == {"completed"}
    cluster.check()
    eventually(up.is_well, 60, "all well", up.log)
    strangers = cluster.installation.pids() - set(up.roles().values())
    assert not strangers - {process.pid for process in cluster.processes}
    record_property(
        "figures", f"{sum(kills.values())} kills, all ended {took:.0f} s after the last"
    )
