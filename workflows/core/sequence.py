"""What runs next in a sequential block, where steps run in their order whatever they wait for."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from workflows.core.graph import Graph
from workflows.core.planner import Ending, Progress, Tally
from workflows.core.states import SkipReason, StepStatus


class InTurn(Progress):
    """Where each step of a sequential block stands.

    A step waits for the one before it, whether it names that or not. Where it does not, it is held
    to how that ended all the same: after a failure, or a condition that was false, nothing more is
    done. Only a branch that was not taken does not come between: behind it the sequence goes on
    from where it was before.
    """

    __slots__ = ("_after", "_before", "_endings", "_not_taken", "_only_in_turn")

    is_in_turn = True

    def __init__(
        self,
        graph: Graph,
        rules: Mapping[str, str],
        *,
        is_fail_fast: bool,
        only_in_turn: frozenset[str],
    ) -> None:
        """Begin with every step pending. ``only_in_turn``: those that do not name the one before
        them, which they need all the same (``CompiledDefinition.in_turn``)."""
        super().__init__(graph, rules, is_fail_fast=is_fail_fast)
        self._only_in_turn = only_in_turn
        self._after = dict(pairwise(graph.order))
        self._before = {after: before for before, after in self._after.items()}
        self._not_taken: set[str] = set()
        self._endings: dict[str, Ending] = {}

    def record(
        self,
        name: str,
        status: StepStatus,
        *,
        skip_reason: str = "",
        is_tolerated: bool = False,
    ) -> None:
        if skip_reason == SkipReason.BRANCH_NOT_TAKEN:
            self._not_taken.add(name)
        super().record(name, status, skip_reason=skip_reason, is_tolerated=is_tolerated)

    def _count(self, name: str, ending: Ending) -> None:
        self._endings[name] = ending
        super()._count(name, ending)

    def _empty(self) -> "InTurn":
        return InTurn(
            self.graph,
            self._rules,
            is_fail_fast=self.is_fail_fast,
            only_in_turn=self._only_in_turn,
        )

    def go_to(self, gate: str, target: str) -> None:
        """Note that a gate leads to a step: what stands between them is not done either."""
        super().go_to(gate, target)
        between = self._after.get(gate)
        while between is not None and between != target:
            self.rule_out([between])
            between = self._after.get(between)

    def followers(self, name: str) -> Iterator[str]:
        yield from super().followers(name)
        after = self._after.get(name)
        while after in self._not_taken:
            after = self._after.get(after)
        if after is not None:
            yield after

    def _standing(self, name: str) -> Tally:
        tally = super()._standing(name)
        before = self._before.get(name)
        if name not in self._only_in_turn or before not in self._not_taken:
            return tally
        while before in self._not_taken:
            before = self._before.get(before)
        standing = Tally(tally.total - 1)
        standing.succeeded = tally.succeeded
        standing.failed = tally.failed
        standing.skipped = tally.skipped - 1  # the branch
        if before is not None and before not in self.graph.predecessors[name]:
            standing.total += 1
            if before in self._endings:
                standing.count(self._endings[before])
        return standing
