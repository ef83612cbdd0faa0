"""Makes the fixture of an upgrade: a database in the middle of work, as this version leaves it.

    python -m tests.golden.make

Its name is that of the newest migration of workflows. Make one for each release, and never make
one again that is committed: what it holds is how that release wrote it.
"""

import gzip
import json
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mgx.settings")
django.setup()  # what follows knows the models

from tests.process.engine_cluster import Cluster  # noqa: E402
from tests.process.installation import ROOT, Installation, eventually  # noqa: E402

HERE = Path(__file__).resolve().parent

_PEOPLE = """
workflow = scenes.publish(scenes.STEPS)
scenes.start(workflow, 20)
"""
_PAUSE = """
from workflows.services.verbs import pause_execution
for run in scenes.WorkflowExecution.objects.filter(status="waiting").order_by("id")[:4]:
    pause_execution(run.id, user=None)
"""
_LATER = """
from workflows.services.definitions import publish, replace_draft
workflow = scenes.Workflow.objects.get()
steps = [*scenes.STEPS[:-1], scenes.step("end", "check", "beside")]
publish(replace_draft(workflow, {"name": workflow.name, "steps": steps}, user=None), user=None)
scenes.start(workflow, 4)
"""


def make(directory: Path) -> Path:
    """Leave runs paused, waiting, in the middle of a step and, of a newer version of the workflow,
    not yet begun; write them down."""
    path = directory / "mgx.sqlite3"
    installation = Installation(directory, f"sqlite:///{path}")
    installation.manage("migrate", "--verbosity", "0")
    cluster = Cluster(installation)
    try:
        cluster.run(_PEOPLE)
        cluster.start()
        waiting = "SELECT count(*) FROM workflow_step_approvals WHERE status = 'pending'"
        eventually(lambda: installation.query(waiting) == [(20,)], 60, "the gates", cluster.log)
        cluster.run(_PAUSE)
        cluster.run_in_background("decide_some(5)")
        running = "SELECT count(*) FROM workflows_workflowstepexecution WHERE status = 'running'"
        eventually(lambda: installation.query(running) > [(4,)], 60, "steps", cluster.log)
        cluster.kill_everything()
    finally:
        cluster.close()
    cluster.run(_LATER)
    newest = sorted((ROOT / "workflows/migrations").glob("0*.py"))[-1].stem
    to = HERE / f"{newest}.json.gz"
    with closing(sqlite3.connect(path)) as database:
        to.write_bytes(gzip.compress(json.dumps(list(database.iterdump())).encode(), mtime=0))
    return to


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        made = make(Path(temporary))
    sys.stdout.write(f"{made}: {made.stat().st_size} bytes\n")
