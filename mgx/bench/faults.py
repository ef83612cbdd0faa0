"""Crashes: how soon everything is done after all workers were killed."""

from collections import Counter

from django.conf import settings

from mgx.bench.scene import Figures, Scene, chain_steps, milliseconds, wait_for_ends, wait_until
from mgx.bench.scratch import engine
from mgx.bench.workflow_tasks import LEDGER
from mgx.verify import find_violations, one_moment
from workflows.clock import database_now
from workflows.models import WorkflowExecution, WorkflowStepExecution

_STEPS = 10


def crash(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Kill every worker when half of the steps are done, and start the engine again."""
    count = size or 200
    workflow = scene.workflow("chain", chain_steps(_STEPS, task="bench.note"))
    ended = WorkflowStepExecution.objects.filter(completed_at__isnull=False)
    with engine(workers):
        scene.start(workflow, count)
        wait_until(lambda: ended.count() >= count * _STEPS // 2, every=0.005)
        # Leaving this block kills the whole cluster, with SIGKILL.
    done = ended.count()
    restarted_at = database_now()
    with engine(workers):
        wait_for_ends()
    last = WorkflowExecution.objects.latest("completed_at").completed_at
    assert last is not None
    ran = Counter((settings.MGX_VAR / LEDGER).read_text("ascii").split())
    with one_moment() as query:
        violations = list(find_violations(query))
    return {
        "seconds": round(milliseconds(restarted_at, last) / 1_000, 3),
        "steps_done_before": done,
        "steps_run_twice": sum(times > 1 for times in ran.values()),
        "steps_lost": count * _STEPS - len(ran),
        "violations": len(violations),
        "how": (
            f"{count} executions of {_STEPS} steps of 50 ms; all processes of the engine killed"
            " (kill -9) with half of the steps done; seconds: from the restart, the start of the"
            " processes included, to the last end; steps_run_twice: by a ledger that each step"
            " writes; violations: of manage.py verify"
        ),
    }
