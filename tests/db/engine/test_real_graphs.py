"""Graphs of real workflows, and generated ones, run as workflows with every dependency kept."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, steps_of, task
from workflows.models import WorkflowExecution

pytestmark = pytest.mark.django_db

GRAPHS = sorted((Path(__file__).parents[4] / "shared" / "data" / "dags").glob("*.json"))


def generated(size: int) -> list[dict[str, Any]]:
    """Return a graph of steps with up to three edges each, the same every time."""
    chance = random.Random(size)  # noqa: S311
    return [
        {"name": f"s{n}", "depends_on": [f"s{chance.randrange(n)}" for _ in range(min(n, 3))]}
        for n in range(size)
    ]


def run_and_check(scene: Scene, hand: DriverByHand, steps: list[dict[str, Any]]) -> None:
    needs = {step["name"]: set(step["depends_on"]) for step in steps}
    execution = scene.run(*[task(name, after=sorted(before)) for name, before in needs.items()])
    hand.work()
    assert WorkflowExecution.objects.get(id=execution.id).status == "completed"
    rows = steps_of(execution)
    assert rows.keys() == needs.keys()
    for name, before in needs.items():
        for other in before:
            assert rows[other].completed_at <= rows[name].started_at


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_real_graph_runs(scene: Scene, hand: DriverByHand, path: Path) -> None:
    run_and_check(scene, hand, json.loads(path.read_text("utf-8"))["steps"])


@pytest.mark.parametrize("size", [10, 300, 1_500])
def test_a_generated_graph_runs(scene: Scene, hand: DriverByHand, size: int) -> None:
    run_and_check(scene, hand, generated(size))
