"""Plans: the levels of large graphs, beside what the standard library needs for its sorting."""

import gc
import random
import time
from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter
from typing import Any

from mgx.bench.scene import Figures, Scene
from workflows.core.graph import Graph

_EDGES = 3
_SIZES = (1_000, 10_000, 100_000)

Dependencies = Mapping[str, list[str]]


def plan(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """The levels of random graphs, of 1,000 to 100,000 steps or of ``size``."""
    figures: Figures = {}
    for count in (size,) if size else _SIZES:
        graph = random_graph(count)
        ours, theirs = _fastest([_levels, _graphlib], graph, max(3, 30_000 // count))
        figures |= {
            f"ms_{count}": round(ours * 1_000, 2),
            f"graphlib_ms_{count}": round(theirs * 1_000, 2),
            f"ratio_{count}": round(ours / theirs, 2),
        }
    how = (
        f"levels of random graphs with {_EDGES} edges a step, and graphlib's own loop over the"
        " same; processor time, the fastest of several rounds of each in turn"
    )
    return {**figures, "how": how}


def random_graph(count: int) -> Dependencies:
    """Return what each step depends on, the steps in an order that says nothing."""
    chance = random.Random(1)  # noqa: S311  (the same graph each time)
    names = [f"step_{number}" for number in range(count)]
    edges = {
        name: [names[chance.randrange(number)] for _ in range(_EDGES)] if number else []
        for number, name in enumerate(names)
    }
    chance.shuffle(names)
    return {name: list(dict.fromkeys(edges[name])) for name in names}


def _levels(graph: Dependencies) -> Any:
    return Graph(graph).levels


def _graphlib(graph: Dependencies) -> Any:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    levels = []
    while sorter.is_active():
        ready = sorter.get_ready()
        levels.append(ready)
        sorter.done(*ready)
    return levels


def _fastest(
    works: list[Callable[[Dependencies], Any]], graph: Dependencies, rounds: int
) -> list[float]:
    """Return the fewest seconds of processor time of each, taken in turns."""
    best = [float("inf")] * len(works)
    gc.collect()
    for _ in range(rounds):
        for place, work in enumerate(works):
            begun = time.process_time()
            work(graph)
            best[place] = min(best[place], time.process_time() - begun)
    return best
