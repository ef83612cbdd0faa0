"""What the names in a definition say about one another: duplicates, dependencies, cycles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from workflows.core.definition import Step
from workflows.core.errors import Problem, cycle_problem, json_pointer
from workflows.core.graph import Graph, find_cycles
from workflows.core.names import fold_name


@dataclass(frozen=True, slots=True)
class Node:
    """A step reduced to its place in the graph. `index` is its position in the document."""

    index: int
    name: str
    needs: tuple[str, ...]
    order: int

    def at(self, *parts: str | int) -> str:
        """Return the JSON pointer to a part of the step."""
        return json_pointer(("steps", self.index, *parts))


def nodes_of(steps: Iterable[Step | Mapping[str, Any]]) -> list[Node]:
    """Reduce steps, checked or not, to nodes; what is not shaped like a step is left out."""
    nodes = []
    for index, step in enumerate(steps):
        if isinstance(step, Step):
            nodes.append(Node(index, step.name, step.depends_on_steps, step.step_order))
        elif isinstance(step, Mapping) and isinstance(step.get("name"), str):
            needs = step.get("depends_on_steps")
            order = step.get("step_order")
            nodes.append(
                Node(
                    index,
                    step["name"],
                    tuple(n for n in needs if isinstance(n, str))
                    if isinstance(needs, list | tuple)
                    else (),
                    order if isinstance(order, int) else index + 1,
                )
            )
    return nodes


def build_graph(nodes: Iterable[Node]) -> Graph:
    """Build the graph of nodes without structural problems; their `step_order` settles ties."""
    ordered = sorted(nodes, key=lambda node: (node.order, node.index))
    return Graph({node.name: node.needs for node in ordered})


def structural_errors(nodes: Sequence[Node]) -> list[Problem]:
    """Return duplicate names, dependencies on nothing or on oneself, and cycles."""
    errors = [*_duplicates(nodes), *_dangling(nodes)]
    firsts = {node.name: node for node in reversed(nodes)}
    dependencies = {
        node.name: [name for name in node.needs if name != node.name]
        for node in nodes
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
    ordered = sorted(nodes, key=lambda node: node.order)
    for before, after in pairwise(ordered):
        if after.order > before.order + 1:
            message = f"No step has a step_order between {before.order} and {after.order}"
            warnings.append(Problem(after.name, "step_order_gap", message, after.at("step_order")))
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


def _dangling(nodes: Sequence[Node]) -> Iterable[Problem]:
    names = {node.name for node in nodes}
    folded: dict[str, str] | None = None
    for node in nodes:
        for position, needed in enumerate(node.needs):
            if needed == node.name:
                message = f"The step '{node.name}' depends on itself"
                place = node.at("depends_on_steps", position)
                yield Problem(node.name, "self_dependency", message, place)
            elif needed not in names:
                if folded is None:
                    folded = {fold_name(name): name for name in names}
                message = f"The step '{node.name}' depends on '{needed}', which does not exist"
                if meant := folded.get(fold_name(needed)):
                    message += f"; there is '{meant}'"
                place = node.at("depends_on_steps", position)
                yield Problem(node.name, "unknown_dependency", message, place)
