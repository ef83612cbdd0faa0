"""The benchmarks: that there is one for each name, and that they do what they say."""

import json
import sys
from collections import Counter
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from mgx.bench.graphs import critical_path
from mgx.bench.measures import MEASURES
from mgx.bench.plans import plan, random_graph
from mgx.bench.scene import chain_steps
from mgx.management.commands.bench import NAMES
from workflows.core.graph import Graph
from workflows.core.validation import validate

ROOT = Path(__file__).resolve().parents[2]


def test_each_name_has_a_measure() -> None:
    assert set(NAMES) == set(MEASURES)
    assert all(measure.__doc__ for measure in MEASURES.values())
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"for name in {' '.join(NAMES)};" in makefile


def test_a_plan_is_of_random_graphs_without_cycles() -> None:
    graph = random_graph(500)
    assert Counter(map(len, graph.values())).most_common(1)[0][0] == 3
    assert len(Graph(graph).levels) > 3
    figures = plan(None, workers=1, size=500)  # type: ignore[arg-type]
    assert figures["ratio_500"] < 5


def test_a_chain_passes_a_value_on() -> None:
    report = validate({"name": "chain", "steps": chain_steps(3)})
    assert report.is_valid
    assert [step.depends_on_steps for step in report.definition.steps] == [
        (),
        ("step_0",),
        ("step_1",),
    ]


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("fanout", "20", {}),
        ("crash", "10", {"steps_lost": 0, "violations": 0}),
        ("timers", "10", {"fired": 10, "early": 0}),
        ("agents", "8", {"turns": 64, "turns_exact": True}),
    ],
)
def test_it_prints_one_line(name: str, size: str, expected: dict[str, Any]) -> None:
    command = [sys.executable, "manage.py", "bench", name, "--size", size, "--json"]
    command += ["--seconds", "0.5"] if name == "agents" else []
    done = run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    wanted = {"bench": name, "database": "sqlite", "workers": 2, **expected}
    assert wanted.items() <= figures.items()
    assert figures["how"]


@pytest.mark.process
def test_only_some_have_a_duration_to_choose() -> None:
    command = [sys.executable, "manage.py", "bench", "plan", "--seconds", "1"]
    done = run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode
    assert "plan has no --seconds to choose" in done.stderr


def test_the_critical_path_is_the_longest_way_through() -> None:
    needs = {"end": ["b", "c"], "a": [], "b": ["a"], "c": ["a"]}
    assert critical_path(needs, {"a": 1, "b": 2, "c": 5, "end": 1}) == 7
