"""Whole graphs: how much longer a run takes than its critical path."""

import json
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from mgx.bench.plans import random_graph
from mgx.bench.scene import Figures, Scene, milliseconds, moment_of
from mgx.bench.scratch import engine
from workflows.core.graph import Graph
from workflows.models import WorkflowExecution
from workflows.services.executions import start_execution

_PATH_SECONDS = 10.0
_SIZES = (10, 100, 500)

#: What each step depends on, and how long it takes by itself, in any unit.
Timed = tuple[Mapping[str, list[str]], Mapping[str, float]]


def makespan(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Graphs of steps that wait, scaled so that the longest way through takes ten seconds."""
    figures: Figures = {}
    directory = os.environ.get("MGX_BENCH_GRAPHS")
    graphs = dict(_read(Path(directory)) if directory else _random((size,) if size else _SIZES))
    with engine(workers):
        for name, (needs, seconds) in graphs.items():
            scale = _PATH_SECONDS / critical_path(needs, seconds)
            steps = [
                {
                    "name": step,
                    "step_type": "task",
                    "depends_on_steps": before,
                    "config": {"task": "sleep", "inputs": {"seconds": seconds[step] * scale}},
                }
                for step, before in needs.items()
            ]
            workflow = scene.workflow(name, steps)
            run = start_execution(workflow, input_variables={}, user=scene.user, door="api")
            end = moment_of(WorkflowExecution.objects.filter(id=run.id), "completed_at")
            took = milliseconds(run.created_at, end) / 1_000
            figures[f"{name}_percent_over"] = round((took / _PATH_SECONDS - 1) * 100, 2)
    return {
        **figures,
        "how": (
            "how much longer a run took than its critical path, scaled to"
            f" {_PATH_SECONDS:.0f} s; random graphs, or those in MGX_BENCH_GRAPHS"
        ),
    }


def _random(sizes: tuple[int, ...]) -> Iterator[tuple[str, Timed]]:
    chance = random.Random(1)  # noqa: S311  (the same graph each time)
    for size in sizes:
        needs = random_graph(size)
        yield f"random_{size}", (needs, {name: chance.uniform(0.5, 1.5) for name in sorted(needs)})


def _read(directory: Path) -> Iterator[tuple[str, Timed]]:
    """Yield the graphs of JSON files: ``steps`` with ``depends_on`` and ``runtime_seconds``."""
    for path in sorted(directory.glob("*.json")):
        steps = json.loads(path.read_text("utf-8"))["steps"]
        needs = {step["name"]: step["depends_on"] for step in steps}
        yield path.stem, (needs, {step["name"]: step["runtime_seconds"] for step in steps})


def critical_path(needs: Mapping[str, list[str]], seconds: Mapping[str, float]) -> float:
    """Return how long the longest way through a graph takes."""
    ends: dict[str, float] = {}
    for name in Graph(needs).order:
        ends[name] = seconds[name] + max((ends[before] for before in needs[name]), default=0.0)
    return max(ends.values())
