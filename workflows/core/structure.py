"""What the names in a definition say about one another: duplicates, dependencies, cycles."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from workflows.core.errors import Problem, cycle_problem, json_pointer
from workflows.core.graph import Graph, find_cycles
from workflows.core.names import fold_name
from workflows.core.steps import AnyBlock, Step

_BLOCK_TYPES = ("parallel", "sequential")


@dataclass(frozen=True, slots=True)
class Node:
    """A step reduced to its place in the graph.

    `place` are the keys that lead to it in the document; `block` is the name of the step that it
    stands in, "" at the top. `is_in_turn`: the last of its needs is not written down, but follows
    from its place in a sequential block.
    """

    place: tuple[str | int, ...]
    name: str
    needs: tuple[str, ...]
    order: int
    block: str = ""
    is_in_turn: bool = False

    def at(self, *parts: str | int) -> str:
        """Return the JSON pointer to a part of the step."""
        return json_pointer((*self.place, *parts))


def nodes_of(steps: Iterable[Step | Mapping[str, Any]]) -> list[Node]:
    """Reduce steps, checked or not, and those inside them to nodes, each before its own.

    What is not shaped like a step is left out. In a sequential block each step needs the one
    before it.
    """
    nodes: list[Node] = []
    # An unchecked document may be deep; it is bounded, but not by what Python can recurse.
    pending: list[tuple[Iterable[Any], tuple[str | int, ...], str, bool]]
    pending = [(steps, ("steps",), "", False)]
    while pending:
        inside, place, block, is_sequential = pending.pop()
        siblings = []
        for index, step in enumerate(inside):
            here = (*place, index)
            if node := _node(step, here, block):
                siblings.append(node)
                if inner := _inner_steps(step):
                    kind = step.step_type if isinstance(step, AnyBlock) else step["step_type"]
                    within = (*here, "config", "steps")
                    pending.append((inner, within, node.name, kind == "sequential"))
        nodes += _in_sequence(siblings) if is_sequential else siblings
    return nodes


def _node(step: Any, place: tuple[str | int, ...], block: str) -> Node | None:
    if isinstance(step, Step):
        return Node(place, step.name, step.depends_on_steps, step.step_order, block)
    if not isinstance(step, Mapping) or not isinstance(step.get("name"), str):
        return None
    needs = step.get("depends_on_steps")
    order = step.get("step_order")
    named = needs if isinstance(needs, list | tuple) else ()
    return Node(
        place,
        step["name"],
        # What is no name keeps its position, and names nothing.
        tuple(name if isinstance(name, str) else "" for name in named),
        order if isinstance(order, int) else int(place[-1]) + 1,
        block,
    )


def _inner_steps(step: Any) -> Sequence[Any]:
    if isinstance(step, AnyBlock):
        return step.config.steps
    if not isinstance(step, Mapping) or step.get("step_type") not in _BLOCK_TYPES:
        return ()
    config = step.get("config")
    steps = config.get("steps") if isinstance(config, Mapping) else None
    return steps if isinstance(steps, list | tuple) else ()


def _in_sequence(siblings: list[Node]) -> Iterator[Node]:
    ordered = sorted(siblings, key=lambda node: (node.order, node.place[-1]))
    before = {node.name: earlier.name for earlier, node in pairwise(ordered)}
    for node in siblings:
        previous = before.get(node.name)
        if previous is None or previous in node.needs:
            yield node
        else:
            yield replace(node, needs=(*node.needs, previous), is_in_turn=True)


def build_graph(nodes: Iterable[Node]) -> Graph:
    """Build the graph of siblings without structural problems; `step_order` settles ties."""
    ordered = sorted(nodes, key=lambda node: (node.order, node.place[-1]))
    return Graph({node.name: node.needs for node in ordered})


def siblings_of(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """Return the nodes of each block, those of the top under ""."""
    blocks: dict[str, list[Node]] = {"": []}
    for node in nodes:
        blocks.setdefault(node.block, []).append(node)
    return blocks


def build_graphs(nodes: Iterable[Node]) -> dict[str, Graph]:
    """Build the graph of each block, that of the top under ""."""
    return {block: build_graph(inside) for block, inside in siblings_of(nodes).items()}


def settled(nodes: Sequence[Node], unknown: Iterable[str] = ()) -> list[Node]:
    """Return the nodes of which it is known, whatever `structural_errors` says of others, what
    comes before them: nothing that is missing, in a circle, or of a name that stands twice.

    `unknown`: names of more nodes of which that is not known.
    """
    count = Counter(node.name for node in nodes)
    count.update(unknown)
    found: list[Node] = []
    for siblings in siblings_of(nodes).values():
        left = {node.name: node for node in siblings if count[node.name] == 1}
        sorter = TopologicalSorter({node.name: node.needs for node in siblings})
        with suppress(CycleError):
            sorter.prepare()  # which can then go on as far as the circles let it
        while ready := [name for name in sorter.get_ready() if name in left]:
            found += [left[name] for name in ready]
            sorter.done(*ready)
    return found


def structural_errors(nodes: Sequence[Node]) -> list[Problem]:
    """Return duplicate names, dependencies on nothing or on oneself, and cycles."""
    errors = list(_duplicates(nodes))
    everywhere = {node.name for node in nodes}
    for siblings in siblings_of(nodes).values():
        errors += _dangling(siblings, everywhere)
        firsts = {node.name: node for node in reversed(siblings)}
        dependencies = {
            node.name: [name for name in node.needs if name != node.name]
            for node in siblings
            if firsts[node.name] is node
        }
        for cycle in find_cycles(dependencies):
            errors.append(cycle_problem(cycle, firsts[cycle[0]].at("depends_on_steps")))
    return errors


def structural_warnings(nodes: Sequence[Node]) -> list[Problem]:
    """Return dependencies that are named twice, and the first gap in the steps' order."""
    warnings = [
        Problem(
            node.name,
            "duplicate_dependency",
            f"The step '{node.name}' names a dependency twice",
            node.at("depends_on_steps"),
        )
        for node in nodes
        if len(set(node.needs)) < len(node.needs)
    ]
    for siblings in siblings_of(nodes).values():
        ordered = sorted(siblings, key=lambda node: node.order)
        for before, after in pairwise(ordered):
            if after.order > before.order + 1:
                message = f"No step has a step_order between {before.order} and {after.order}"
                place = after.at("step_order")
                warnings.append(Problem(after.name, "step_order_gap", message, place))
                break
    return warnings


def _duplicates(nodes: Sequence[Node]) -> Iterable[Problem]:
    seen: dict[str, Node] = {}
    for node in nodes:
        first = seen.setdefault(fold_name(node.name), node)
        if first is not node:
            alike = "is used twice" if first.name == node.name else f"reads like '{first.name}'"
            message = f"The step name '{node.name}' {alike}"
            yield Problem(node.name, "duplicate_name", message, node.at("name"))


def _dangling(siblings: Sequence[Node], everywhere: set[str]) -> Iterable[Problem]:
    names = {node.name for node in siblings}
    folded: dict[str, str] | None = None
    for node in siblings:
        for position, needed in enumerate(node.needs):
            place = node.at("depends_on_steps", position)
            if needed == node.name:
                message = f"The step '{node.name}' depends on itself"
                yield Problem(node.name, "self_dependency", message, place)
            elif needed in everywhere and needed not in names:
                message = (
                    f"The step '{node.name}' depends on '{needed}', which stands in another block;"
                    " only steps of the same block wait for each other"
                )
                yield Problem(node.name, "unknown_dependency", message, place)
            elif needed not in names:
                if folded is None:
                    folded = {fold_name(name): name for name in names}
                message = f"The step '{node.name}' depends on '{needed}', which does not exist"
                if meant := folded.get(fold_name(needed)):
                    message += f"; there is '{meant}'"
                yield Problem(node.name, "unknown_dependency", message, place)
