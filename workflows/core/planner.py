"""What runs next: a pure function of the graph and of where each step stands.

``Progress`` counts, for every step, how the steps before it ended, so that a step's rule is
judged in constant time however many steps it waits for. The engine records what happened and
carries out the moves; nothing here knows of a database.

Trigger rules have Airflow's names and meanings. How a step ended counts as

* success: completed, or failed with ``continue_on_error``,
* failure: failed, timed out, cancelled, or skipped because of a failure before it,
* skip: skipped for any other reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from workflows.core.graph import Graph
from workflows.core.states import TERMINAL_STEP_STATUSES, SkipReason, StepStatus

#: Rules that let a step run although something before it failed.
ACCEPT_FAILURES = frozenset({"all_done", "all_failed", "one_failed", "always"})


@dataclass(frozen=True, slots=True)
class Start:
    """The step may run now."""

    name: str


@dataclass(frozen=True, slots=True)
class Skip:
    """The step's rule can no longer be met."""

    name: str
    reason: SkipReason


Move = Start | Skip


class Ending(Enum):
    """How a step that has ended counts for those behind it."""

    SUCCESS = "success"
    FAILURE = "failure"
    SKIP = "skip"


class Tally:
    """How many of the steps before a step have ended, and how."""

    __slots__ = ("failed", "skipped", "succeeded", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.succeeded = 0
        self.failed = 0
        self.skipped = 0

    def count(self, ending: Ending) -> None:
        """Count one more that has ended."""
        if ending is Ending.SUCCESS:
            self.succeeded += 1
        elif ending is Ending.FAILURE:
            self.failed += 1
        else:
            self.skipped += 1

    @property
    def is_complete(self) -> bool:
        """Whether all of them have ended."""
        return self.succeeded + self.failed + self.skipped == self.total


class Progress:
    """Where each step of a run stands.

    Attributes:
        statuses: the status of every step that has moved; the others are pending.
        unfinished: how many steps have not ended.
        under_way: how many steps have begun and not ended.
        failures: the steps whose failure fails the run, in the order in which they ended.
        is_halted: something else has failed that nothing new may start after.
    """

    __slots__ = (
        "_ruled_out",
        "_rules",
        "_tallies",
        "failures",
        "graph",
        "is_fail_fast",
        "is_halted",
        "statuses",
        "under_way",
        "unfinished",
    )

    #: Whether they run one after the other, whatever their rules say.
    is_in_turn = False

    def __init__(self, graph: Graph, rules: Mapping[str, str], *, is_fail_fast: bool) -> None:
        """Begin with every step pending. ``rules``: the trigger rules other than the default."""
        self.graph = graph
        self.is_fail_fast = is_fail_fast
        self.statuses: dict[str, StepStatus] = {}
        self.unfinished = len(graph)
        self.under_way = 0
        self.is_halted = False
        self.failures: list[str] = []
        self._rules = rules
        self._tallies: dict[str, Tally] = {}
        self._ruled_out: dict[str, SkipReason] = {}

    def record(
        self,
        name: str,
        status: StepStatus,
        *,
        skip_reason: str = "",
        is_tolerated: bool = False,
    ) -> None:
        """Note that a step is now at ``status``; ``is_tolerated``: the run goes on if it failed."""
        has_begun = name in self.statuses
        self.statuses[name] = status
        if status not in TERMINAL_STEP_STATUSES:
            self.under_way += not has_begun
            return
        self.under_way -= has_begun
        self.unfinished -= 1
        has_failed = status not in (StepStatus.COMPLETED, StepStatus.SKIPPED) and not is_tolerated
        if has_failed:
            self.failures.append(name)
        if has_failed or skip_reason == SkipReason.UPSTREAM_FAILED:
            self._count(name, Ending.FAILURE)
        elif status is StepStatus.SKIPPED:
            self._count(name, Ending.SKIP)
        else:
            self._count(name, Ending.SUCCESS)

    def _count(self, name: str, ending: Ending) -> None:
        for successor in self.graph.successors[name]:
            self._tally(successor).count(ending)

    def anew(self) -> "Progress":
        """Return the progress of the same steps in which none of them has moved."""
        progress = self._empty()
        progress.is_halted = self.is_halted
        return progress

    def _empty(self) -> "Progress":
        return Progress(self.graph, self._rules, is_fail_fast=self.is_fail_fast)

    def forget(self, name: str) -> None:
        """Take back that a step has begun: it is pending again."""
        del self.statuses[name]
        self.under_way -= 1

    def rule_out(
        self, names: Iterable[str], reason: SkipReason = SkipReason.BRANCH_NOT_TAKEN
    ) -> None:
        """Note that these steps do not run: they are in branches that were not taken."""
        self._ruled_out |= dict.fromkeys(names, reason)

    def go_to(self, gate: str, target: str) -> None:
        """Note that of the steps behind a gate only ``target`` runs."""
        self.rule_out(name for name in self.graph.successors[gate] if name != target)

    def followers(self, name: str) -> Iterable[str]:
        """Return the steps whose turn may have come with the end of a step."""
        return self.graph.successors[name]

    def judge(self, name: str) -> Move | None:
        """Return the move that a pending step is due for, or None while its rule is open."""
        if name in self._ruled_out:
            return Skip(name, self._ruled_out[name])
        rule = self._rules.get(name, "all_success")
        tally = self._standing(name)
        verdict = _RULES[rule](tally)
        if verdict is True:
            if self.is_in_turn and not tally.is_complete:
                return None
            is_stopped = self.is_halted or (self.is_fail_fast and self.failures)
            if is_stopped and rule not in ACCEPT_FAILURES:
                return Skip(name, SkipReason.UPSTREAM_FAILED)
            return Start(name)
        return Skip(name, verdict) if verdict else None

    def _standing(self, name: str) -> Tally:
        """Return what the rule of a step is judged by."""
        return self._tally(name)

    def _tally(self, name: str) -> Tally:
        tally = self._tallies.get(name)
        if tally is None:
            tally = self._tallies[name] = Tally(len(self.graph.predecessors[name]))
        return tally


def next_moves(progress: Progress, ended: Iterable[str] | None = None) -> list[Move]:
    """Return the moves that have become due, in the order of the definition.

    ``ended`` names the steps that ended since the last call, and only what waits for them is
    looked at; None means all steps, as after loading a run. Skips are moves like any other:
    record them and ask again with their names.
    """
    statuses = progress.statuses
    if ended is None:
        candidates: Iterable[str] = progress.graph.order
    else:
        candidates = dict.fromkeys(name for e in ended for name in progress.followers(e))
    moves = []
    for name in candidates:
        if name not in statuses and (move := progress.judge(name)):
            moves.append(move)
    return moves


# Each rule says True (run), a reason (it never will), or None (it is still open).
Verdict = bool | SkipReason | None


def _all_success(t: Tally) -> Verdict:
    if t.failed:
        return SkipReason.UPSTREAM_FAILED
    if t.skipped:
        return SkipReason.UPSTREAM_SKIPPED
    return t.is_complete or None


def _all_done(t: Tally) -> Verdict:
    return t.is_complete or None


def _all_failed(t: Tally) -> Verdict:
    if t.succeeded or t.skipped:
        return SkipReason.TRIGGER_RULE_NOT_MET
    return t.is_complete or None


def _one_success(t: Tally) -> Verdict:
    if t.succeeded or not t.total:
        return True
    if t.is_complete:
        return SkipReason.UPSTREAM_FAILED if t.failed else SkipReason.UPSTREAM_SKIPPED
    return None


def _one_failed(t: Tally) -> Verdict:
    if t.failed or not t.total:
        return True
    return SkipReason.TRIGGER_RULE_NOT_MET if t.is_complete else None


def _none_failed(t: Tally) -> Verdict:
    if t.failed:
        return SkipReason.UPSTREAM_FAILED
    return t.is_complete or None


def _none_failed_min_one_success(t: Tally) -> Verdict:
    if t.failed:
        return SkipReason.UPSTREAM_FAILED
    if not t.is_complete:
        return None
    return True if t.succeeded or not t.total else SkipReason.UPSTREAM_SKIPPED


def _all_skipped(t: Tally) -> Verdict:
    if t.succeeded or t.failed:
        return SkipReason.TRIGGER_RULE_NOT_MET
    return t.is_complete or None


def _always(_: Tally) -> Verdict:
    return True


_RULES = {
    "all_success": _all_success,
    "all_done": _all_done,
    "all_failed": _all_failed,
    "one_success": _one_success,
    "one_failed": _one_failed,
    "none_failed": _none_failed,
    "none_failed_min_one_success": _none_failed_min_one_success,
    "all_skipped": _all_skipped,
    "always": _always,
}
