"""With ``fail_fast``: what of a run does not start any more, as its rows tell.

A driver halts what a failure reaches as it happens, in its memory. Here the reach is read from the
rows, and the planner is asked what does not start there, as the driver asks it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from workflows.core.planner import ACCEPT_FAILURES, Progress, Start
from workflows.core.states import StepStatus
from workflows.core.structure import build_graphs, nodes_of
from workflows.models import WorkflowStepExecution

#: The steps that stand beside each other: their block, "" at the top, and what stands behind their
#: names in one of its rounds.
Place = tuple[str, str]


class Halting:
    """What the failures of a run keep from starting.

    Args:
        document: the published definition; ``definitions`` are its steps, by name.
        latest: the rows that count, by name.
        places: where steps may still start.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        definitions: Mapping[str, Mapping[str, Any]],
        latest: Mapping[str, WorkflowStepExecution],
        places: Collection[Place],
    ) -> None:
        self._definitions = definitions
        self._latest = latest
        self._progress: dict[Place, Progress] = {}
        if not (document.get("config") or {}).get("fail_fast"):
            return
        nodes = nodes_of(document["steps"])
        self._graphs = build_graphs(nodes)
        self._blocks = {node.name: node.block for node in nodes}
        self._rules = {n: rule for n, d in definitions.items() if (rule := d.get("trigger_rule"))}
        self._progress = {place: self._read(*place) for place in places}
        failed = [place for place, progress in self._progress.items() if progress.failures]
        reached = {each for place in failed for each in self._reach(place)}
        for place, progress in self._progress.items():
            progress.is_halted = self._is_within(place, reached)

    def keeps(self, name: str, place: Place) -> bool:
        """Tell whether a step that nothing else keeps from starting does not start any more."""
        progress = self._progress.get(place)
        return (
            progress is not None
            and progress.is_halted
            and not isinstance(progress.judge(name), Start)
        )

    def failure(self) -> WorkflowStepExecution | None:
        """Return the first failure that reaches the whole run, and will fail it."""
        rows = [
            self._latest[f"{name}{place[1]}"]
            for place, progress in self._progress.items()
            if progress.failures and ("", "") in self._reach(place)
            for name in progress.failures
        ]
        return min(rows, key=lambda row: (str(row.completed_at), row.name), default=None)

    def _read(self, block: str, suffix: str) -> Progress:
        progress = Progress(self._graphs[block], self._rules, is_fail_fast=True)
        for name in progress.graph.order:
            row = self._latest.get(f"{name}{suffix}")
            if row is not None and row.status != StepStatus.PENDING:
                progress.record(
                    name,
                    StepStatus(row.status),
                    skip_reason=row.skip_reason,
                    is_tolerated=self._tolerates_failure(name),
                )
        return progress

    def _reach(self, place: Place) -> Iterator[Place]:
        """Yield where a failure lets nothing new start, from the inside."""
        for each in self._and_around(place):
            yield each
            if each[0] and self._tolerates_failure(each[0]):
                return

    def _is_within(self, place: Place, reached: Collection[Place]) -> bool:
        for each in self._and_around(place):
            if each in reached:
                return True
            if self._rules.get(each[0]) in ACCEPT_FAILURES:
                return False
        return False

    def _and_around(self, place: Place) -> Iterator[Place]:
        block, suffix = place
        yield place
        while block:
            config = self._definitions[block]["config"]
            if config.get("for_each") is not None or config.get("repeat_until") is not None:
                suffix = suffix.rpartition("[")[0]
            block = self._blocks[block]
            yield block, suffix

    def _tolerates_failure(self, name: str) -> bool:
        return bool((self._definitions[name].get("config") or {}).get("continue_on_error"))
