"""Chains of steps: many at once, one at a time, and a long one."""

import time
from statistics import median

from mgx.bench.scene import (
    Figures,
    Scene,
    chain_steps,
    milliseconds,
    moment_of,
    spread,
    wait_for_ends,
)
from mgx.bench.scratch import engine, peak_mb
from workflows.clock import database_now
from workflows.models import Workflow, WorkflowExecution
from workflows.services.executions import start_execution


def chain(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """N executions of ten steps, each of which passes on what the one before made."""
    count = size or 1_000
    workflow = scene.workflow("chain", chain_steps(10))
    with engine(workers):
        begun = time.perf_counter()
        scene.start(workflow, count)
        wait_for_ends()
        seconds = time.perf_counter() - begun
    return {
        "steps_per_second": round(count * 10 / seconds, 1),
        "seconds": round(seconds, 3),
        "how": f"{count} executions of 10 steps, from the first start to the last end",
    }


def latency(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """One ten-step chain after the other on an idle system."""
    workflow = scene.workflow("chain", chain_steps(10))
    with engine(workers):
        times = [_run_one(scene, workflow) for _ in range(size or 60)]
    return {**spread(times), "how": "from the call that starts a 10-step chain to its end"}


def run(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """One long chain, and what a step of it costs beside a step of a short one."""
    count = size or 5_000
    short = scene.workflow("short", chain_steps(10))
    long = scene.workflow("long", chain_steps(count))
    with engine(workers) as pids:
        short_ms = median(_run_one(scene, short) for _ in range(30)) / 10
        long_ms = _run_one(scene, long) / count
        peak = max(map(peak_mb, pids))
    return {
        "seconds": round(long_ms * count / 1_000, 3),
        "ms_per_step": round(long_ms, 3),
        "ms_per_step_of_10": round(short_ms, 3),
        "ratio": round(long_ms / short_ms, 2),
        "peak_mb": peak,
        "how": (
            f"one chain of {count} steps on an idle system, from the call that starts it to its"
            " end; ms_per_step_of_10: the same of chains of 10 steps, the median of 30; peak_mb:"
            " the larger worker's peak resident memory"
        ),
    }


def fanout(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Steps that all can run at once, and one that waits for them all."""
    count = size or 1_000
    names = [f"step_{number}" for number in range(count)]
    task = {"task": "transform", "inputs": {"value": 1}}
    steps = [{"name": name, "step_type": "task", "config": task} for name in names]
    steps.append({"name": "join", "step_type": "task", "depends_on_steps": names, "config": task})
    workflow = scene.workflow("fanout", steps)
    with engine(workers):
        times = sorted(_run_one(scene, workflow) / 1_000 for _ in range(5))
    return {
        "seconds": round(median(times), 3),
        "slowest_seconds": round(times[-1], 3),
        "steps_per_second": round((count + 1) / median(times), 1),
        "how": (
            f"one run of {count} parallel steps and a join, from the call that starts it to its"
            " end; the median of 5 runs, one after the other"
        ),
    }


def _run_one(scene: Scene, workflow: Workflow) -> float:
    """Return the milliseconds from the call that starts a run to the run's end."""
    begun = database_now()
    execution = start_execution(workflow, input_variables={}, user=scene.user, door="api")
    row = WorkflowExecution.objects.filter(id=execution.id)
    return milliseconds(begun, moment_of(row, "completed_at"))
