"""The database server is stopped under load, as a power cut would, and comes back."""

import json
import os
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.engine_cluster import IS_LONG, Cluster
from tests.process.installation import Installation, Up, eventually
from tests.process.own_postgresql import OwnPostgresql, own_postgresql

__all__ = ["own_postgresql"]

pytestmark = pytest.mark.skipif(
    not os.environ.get("DATABASE_URL", "").startswith("postgres"),
    reason="SQLite has no server that could stop",
)
Note = Callable[[str, object], None]


@pytest.fixture
def everything(own_postgresql: OwnPostgresql, tmp_path: Path) -> Iterator[Up]:
    """``manage.py up`` on the test's own server."""
    installation = Installation(tmp_path, own_postgresql.url)
    installation.manage("migrate", "--verbosity", "0")
    cluster = Cluster(installation)
    cluster.run("scenes.start(scenes.publish(scenes.STEPS), 30)")
    up = Up(installation)
    yield up
    up.end()
    cluster.close()


@pytest.mark.promise("P11 PostgreSQL stopped with -m immediate under 30 runs")
def test_the_database_stops_under_load_and_nothing_is_lost(
    own_postgresql: OwnPostgresql, everything: Up, record_property: Note
) -> None:
    outages, seconds = (5, 5) if IS_LONG else (1, 1)
    up, cluster = everything, Cluster(everything.installation)
    up.wait_until_well()
    before = usual_seconds(cluster) if IS_LONG else 0.0
    for _ in range(outages):
        deciding = cluster.run_in_background("decide_everything()")
        time.sleep(1)
        own_postgresql.stop()
        time.sleep(seconds)
        eventually(lambda: refusal(up) == REFUSAL, 10, f"503, not {refusal(up)}", up.log)
        own_postgresql.start()
        deciding.wait(30)
    cluster.run_in_background("decide_everything()")
    eventually(lambda: cluster.live_runs() == 0, 60, "the end of all runs", up.log)
    eventually(up.is_ready, 30, "ready again", up.log)
    assert set(cluster.statuses()) == {"completed"}
    figures = f"{outages} outages, 503 with Retry-After, 30 of 30 completed"
    if IS_LONG:
        time.sleep(60)  # from when on everything is to be as quick as before
        after = usual_seconds(cluster)
        figures += f", p95 of a run {1000 * before:.0f} ms before and {1000 * after:.0f} after"
        assert after <= 2 * before, figures
    cluster.check()
    record_property("figures", figures)
    cluster.close()


def usual_seconds(cluster: Cluster) -> float:
    """Return in how many seconds 95 % of short runs end: the median of several times that."""
    percentiles = []
    for _ in range(5):
        cluster.run("scenes.time_runs(60)")
        seconds = (cluster.installation.directory / "seconds").read_text().split()
        percentiles.append(statistics.quantiles(map(float, seconds), n=20)[-1])
    return statistics.median(percentiles)


REFUSAL = (503, "application/problem+json", "database_unavailable", True)


def refusal(up: Up) -> tuple[int, str, str, bool]:
    """Return what the API says: status, type, code, and whether when to try again."""
    request = urllib.request.Request(  # noqa: S310
        f"{up.url}/api/v1/executions/", headers={"Authorization": "Bearer mgx_of_nobody"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, "", "", False
    except urllib.error.HTTPError as error:
        body = json.loads(error.read())
        kind = error.headers["Content-Type"].partition(";")[0]
        return error.code, kind, body.get("code", ""), "Retry-After" in error.headers
