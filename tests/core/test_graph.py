"""Orders, levels and cycles, on random and on real graphs."""

import json
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.errors import CycleError
from workflows.core.graph import Graph, find_cycles

REAL_GRAPHS = sorted((Path(__file__).parents[3] / "shared" / "data" / "dags").glob("*.json"))


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    """A graph of up to 12 names, listed in an order that says nothing."""
    size = draw(st.integers(1, 12))
    edges = {f"s{i}": [f"s{j}" for j in range(i) if draw(st.booleans())] for i in range(size)}
    names = draw(st.permutations(list(edges)))
    return {name: edges[name] for name in names}


def walk(dependencies: Mapping[str, Iterable[str]], name: str) -> set[str]:
    found: set[str] = set()
    for needed in dependencies[name]:
        found |= {needed} | walk(dependencies, needed)
    return found


@given(acyclic())
def test_every_step_stands_after_what_it_needs(dependencies: dict[str, list[str]]) -> None:
    order = Graph(dependencies).order
    assert sorted(order) == sorted(dependencies)
    for name, needs in dependencies.items():
        assert all(order.index(needed) < order.index(name) for needed in needs)


@given(acyclic())
def test_levels_are_the_longest_ways(dependencies: dict[str, list[str]]) -> None:
    level_of = {n: i for i, level in enumerate(Graph(dependencies).levels) for n in level}
    for name, needs in dependencies.items():
        assert level_of[name] == max((level_of[needed] + 1 for needed in needs), default=0)


@given(acyclic())
def test_ties_stand_in_the_order_that_was_given(dependencies: dict[str, list[str]]) -> None:
    listed = list(dependencies)
    for level in Graph(dependencies).levels:
        assert list(level) == sorted(level, key=listed.index)


@given(acyclic())
def test_neighbours_and_ancestors_agree(dependencies: dict[str, list[str]]) -> None:
    graph = Graph(dependencies)
    for name in dependencies:
        assert graph.ancestors(name) == walk(dependencies, name)
        for other in dependencies:
            assert graph.is_ancestor(other, of=name) == (other in graph.ancestors(name))
            assert (name in graph.descendants(other)) == (other in graph.ancestors(name))
            assert (name in graph.successors[other]) == (other in dependencies[name])
    assert set(graph.roots) == {name for name in dependencies if not dependencies[name]}
    assert set(graph.leaves) == {name for name in dependencies if not graph.descendants(name)}


@given(acyclic(), st.data())
def test_every_cycle_is_found(dependencies: dict[str, list[str]], data: st.DataObject) -> None:
    start = data.draw(st.sampled_from(sorted(dependencies)))
    end = data.draw(st.sampled_from(sorted({start} | walk(dependencies, start))))
    looped = {name: list(needs) for name, needs in dependencies.items()}
    looped[end].append(start)
    with pytest.raises(CycleError) as caught:
        Graph(looped)
    for path in (caught.value.path, find_cycles(looped)[0]):
        assert path[0] == path[-1]
        assert len(set(path)) == len(path) - 1
        assert all(before in looped[after] for before, after in pairwise(path))


@given(acyclic())
def test_no_cycle_is_found_where_there_is_none(dependencies: dict[str, list[str]]) -> None:
    assert find_cycles(dependencies) == []


def test_a_cycle_is_named_from_its_first_step_in_the_direction_of_the_run() -> None:
    with pytest.raises(CycleError, match="a → b → c → a") as caught:
        Graph({"a": ["c"], "b": ["a"], "c": ["b"]})
    assert caught.value.path == ("a", "b", "c", "a")
    assert caught.value.errors[0].error_type == "cycle"


@pytest.mark.parametrize("listed", list(permutations("abc")))
def test_the_first_step_of_a_cycle_is_the_first_that_is_listed(listed: tuple[str, ...]) -> None:
    needs = {"a": ["c"], "b": ["a"], "c": ["b"]}
    (path,) = find_cycles({name: needs[name] for name in listed})
    assert path[0] == path[-1] == listed[0]


def test_a_way_into_a_cycle_does_not_choose_its_first_step() -> None:
    found = find_cycles({"x": [], "b": ["a"], "a": ["c"], "c": ["b", "x"]})
    assert found == [("b", "c", "a", "b")]


def test_cycles_apart_from_one_another_are_all_found() -> None:
    found = find_cycles({"a": ["b"], "b": ["a"], "c": ["d", "a"], "d": ["c"], "e": ["nothing"]})
    assert {frozenset(path) for path in found} == {frozenset("ab"), frozenset("cd")}


def test_a_graph_cannot_be_changed() -> None:
    graph = Graph({"a": [], "b": ["a", "a"]})
    assert graph.predecessors["b"] == ("a",)
    with pytest.raises(TypeError):
        graph.predecessors["a"] = ("b",)  # type: ignore[index]
    with pytest.raises(AttributeError):
        graph.other = 1  # type: ignore[attr-defined]


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError):
        Graph({"a": ["b"]})


@pytest.mark.parametrize("size", [10_000])
def test_long_chains_need_no_recursion(size: int) -> None:
    chain = {f"s{i}": [f"s{i - 1}"] if i else [] for i in range(size)}
    start = time.process_time()
    graph = Graph(chain)
    assert len(graph.levels) == len(graph) == size
    assert len(graph.ancestors(f"s{size - 1}")) == size - 1
    assert len(graph.descendants("s0")) == size - 1
    chain["s0"] = [f"s{size - 1}"]
    assert len(find_cycles(chain)[0]) == size + 1
    assert time.process_time() - start < 2


def test_a_complete_graph_of_500_steps_is_fast() -> None:
    complete = {f"s{i}": [f"s{j}" for j in range(i)] for i in range(500)}
    start = time.process_time()
    assert Graph(complete).order == tuple(complete)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("path", REAL_GRAPHS, ids=lambda path: path.stem)
def test_real_graphs_are_ordered(path: Path) -> None:
    steps = json.loads(path.read_text())["steps"]
    graph = Graph({step["name"]: step["depends_on"] for step in steps})
    position = {name: index for index, name in enumerate(graph.order)}
    for step in steps:
        assert all(position[needed] < position[step["name"]] for needed in step["depends_on"])
