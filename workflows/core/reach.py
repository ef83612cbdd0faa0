"""What the references of each step may name: variables, and the steps that come before it."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

from workflows.core.compiled import Place, StepReading
from workflows.core.definition import Limits
from workflows.core.errors import Problem
from workflows.core.graph import Graph
from workflows.core.partial import list_in
from workflows.core.rounds import Rounds
from workflows.core.scope import Names
from workflows.core.steps import AnyStep, SequentialStep


class References:
    """The names of a document, and with them the check of what its steps refer to."""

    def __init__(
        self, document: dict[str, Any], rounds: Rounds, graphs: Mapping[str, Graph]
    ) -> None:
        self._variables = frozenset(_variable_names(document))
        self._rounds = rounds
        self._blocks = rounds.blocks
        self._all_steps = frozenset(rounds.blocks)
        self._graphs = graphs

    def check(
        self, steps: Iterable[tuple[Place, AnyStep]], limits: Limits
    ) -> tuple[list[Problem], list[Problem]]:
        errors: list[Problem] = []
        warnings: list[Problem] = []
        for place, step in steps:
            inside = self._names_in(step.name) if isinstance(step, SequentialStep) else None
            reading = StepReading(place, step, self._names_at(step.name), limits, inside)
            errors += reading.errors
            warnings += reading.warnings
        return errors, warnings

    def _names_at(self, step: str) -> Names:
        return self._names(_Ancestors(self._graphs, self._blocks, step), step)

    def _names_in(self, block: str) -> Names:
        """Return what may be named at the end of a round of a block."""
        inner = frozenset(name for name, around in self._blocks.items() if around == block)
        ancestors = _Ancestors(self._graphs, self._blocks, block, inner)
        names = self._names(ancestors, block)
        return replace(names, has_index=True)

    def _names(self, ancestors: Container[str], step: str) -> Names:
        # Of a step without a name it is not known where it stands; that is an error of its own.
        is_known = step in self._blocks
        return Names(
            variables=self._variables,
            steps=ancestors if is_known else self._all_steps,
            all_steps=self._all_steps,
            has_item=self._rounds.has_item(step) or not is_known,
            has_index=self._rounds.has_index(step) or not is_known,
        )


class _Ancestors(Container[str]):
    """What comes before a step: in its own block, and before each of the blocks around it.

    Anything may where the graphs do not know the step: what it waits for is reported anyway.
    They are asked one by one: a set for each of 5,000 steps is too much. `inner`: more of them.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        blocks: Mapping[str, str],
        step: str,
        inner: frozenset[str] = frozenset(),
    ) -> None:
        self._graphs = graphs
        self._blocks = blocks
        self._step = step
        self._inner = inner

    def __contains__(self, name: object) -> bool:
        if name in self._inner:
            return True
        step = self._step
        while step:
            block = self._blocks.get(step, "")
            graph = self._graphs.get(block)
            if graph is None or step not in graph:
                return True
            if name in graph:
                return graph.is_ancestor(str(name), step)
            step = block
        return False


def _variable_names(document: dict[str, Any]) -> Iterable[str]:
    for variable in list_in(document, "variables"):
        name = variable.get("name") if isinstance(variable, dict) else None
        if isinstance(name, str) and name.isascii() and name.isidentifier():
            yield name
