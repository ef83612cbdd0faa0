"""What runs next: every rule as a table, and whole runs against a slow second opinion."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.core.graph import Graph
from workflows.core.planner import ACCEPT_FAILURES, Move, Progress, Skip, Start, next_moves
from workflows.core.states import TERMINAL_STEP_STATUSES, SkipReason, StepStatus
from workflows.core.steps import TriggerRule

RULES: tuple[str, ...] = TriggerRule.__args__  # type: ignore[attr-defined]

# How the two steps before ended: s(uccess), f(ailure), (s)k(ip), - still open. Each rule then
# R(uns), waits (.), or is skipped: upstream F(ailed), upstream s(K)ipped, rule N(ot met).
ENDINGS = ["--", "s-", "f-", "k-", "ss", "sf", "sk", "ff", "fk", "kk"]
TABLE = {
    "all_success": ".   .   F   K   R   F   K   F   F   K",
    "all_done": ".   .   .   .   R   R   R   R   R   R",
    "all_failed": ".   N   .   N   N   N   N   R   N   N",
    "one_success": ".   R   .   .   R   R   R   F   F   K",
    "one_failed": ".   .   R   .   N   R   N   R   R   N",
    "none_failed": ".   .   F   .   R   F   R   F   F   R",
    "none_failed_min_one_success": ".   .   F   .   R   F   R   F   F   K",
    "all_skipped": ".   N   N   .   N   N   N   N   N   R",
    "always": "R   R   R   R   R   R   R   R   R   R",
}
VERDICTS: dict[str, Move | None] = {
    ".": None,
    "R": Start("c"),
    "F": Skip("c", SkipReason.UPSTREAM_FAILED),
    "K": Skip("c", SkipReason.UPSTREAM_SKIPPED),
    "N": Skip("c", SkipReason.TRIGGER_RULE_NOT_MET),
}


def record(progress: Progress, name: str, ending: str) -> None:
    """Note that a step ended as the letter says."""
    match ending:
        case "s":
            progress.record(name, StepStatus.COMPLETED)
        case "f":
            progress.record(name, StepStatus.FAILED)
        case "k":
            progress.record(name, StepStatus.SKIPPED, skip_reason=SkipReason.CONDITION_FALSE)


@pytest.mark.parametrize(
    ("rule", "endings", "verdict"),
    [
        (rule, endings, verdict)
        for rule, row in TABLE.items()
        for endings, verdict in zip(ENDINGS, row.split(), strict=True)
    ],
)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_each_rule_decides_as_its_row_says(
    rule: str, endings: str, verdict: str, is_reversed: bool
) -> None:
    progress = Progress(Graph({"a": [], "b": [], "c": ["a", "b"]}), {"c": rule}, is_fail_fast=False)
    for name, ending in zip("ba" if is_reversed else "ab", endings, strict=True):
        record(progress, name, ending)
    assert progress.judge("c") == VERDICTS[verdict]


def test_the_table_knows_every_rule() -> None:
    assert set(TABLE) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_step_that_waits_for_nothing_runs_at_once(rule: str) -> None:
    progress = Progress(Graph({"a": []}), {"a": rule}, is_fail_fast=False)
    assert next_moves(progress) == [Start("a")]


@pytest.mark.parametrize("status", [StepStatus.FAILED, StepStatus.TIMEOUT, StepStatus.CANCELLED])
def test_every_way_of_not_succeeding_is_a_failure(status: StepStatus) -> None:
    progress = Progress(Graph({"a": [], "b": ["a"]}), {"b": "all_failed"}, is_fail_fast=False)
    progress.record("a", status)
    assert next_moves(progress, ["a"]) == [Start("b")]
    assert progress.failures == ["a"]


def test_a_skip_because_of_a_failure_is_a_failure_to_those_behind_it() -> None:
    graph = Graph({"a": [], "b": ["a"], "c": ["b"]})
    progress = Progress(graph, {"c": "one_failed"}, is_fail_fast=False)
    progress.record("a", StepStatus.FAILED)
    progress.record("b", StepStatus.SKIPPED, skip_reason=SkipReason.UPSTREAM_FAILED)
    assert next_moves(progress, ["b"]) == [Start("c")]
    assert progress.failures == ["a"]


def test_a_tolerated_failure_is_a_success_to_those_behind_it() -> None:
    progress = Progress(Graph({"a": [], "b": ["a"]}), {}, is_fail_fast=True)
    progress.record("a", StepStatus.FAILED, is_tolerated=True)
    assert next_moves(progress, ["a"]) == [Start("b")]
    assert progress.failures == []


@pytest.mark.parametrize("rule", RULES)
def test_fail_fast_starts_nothing_more_that_does_not_accept_failures(rule: str) -> None:
    """``a`` fails; ``c``, which has nothing to do with it, waits for ``b``."""
    ends_of_b = "f" if rule in ("all_failed", "one_failed") else "s"
    ends_of_b = "k" if rule == "all_skipped" else ends_of_b
    progress = Progress(Graph({"a": [], "b": [], "c": ["b"]}), {"c": rule}, is_fail_fast=True)
    record(progress, "a", "f")
    record(progress, "b", ends_of_b)
    accepts = rule in ACCEPT_FAILURES
    assert next_moves(progress, ["b"]) == [VERDICTS["R" if accepts else "F"]]


def test_moves_come_in_the_order_of_the_definition() -> None:
    graph = Graph({"z": [], "a": [], "m": [], "end": ["z", "a", "m"]})
    progress = Progress(graph, {}, is_fail_fast=False)
    assert next_moves(progress) == [Start("z"), Start("a"), Start("m")]


# --- whole runs -----------------------------------------------------------------------------


def second_opinion(progress: "Watched", rules: dict[str, str], name: str) -> str:
    """Say ``run``, ``never`` or ``open`` by looking at every step before ``name``.

    Nothing of the planner's own counting is used.
    """
    seen = [progress.kinds.get(before) for before in progress.graph.predecessors[name]]
    still_open = None in seen
    has = {kind: kind in seen for kind in ("s", "f", "k")}
    match rules.get(name, "all_success") if seen else "always":
        case "all_success":
            met, lost = not still_open, has["f"] or has["k"]
        case "all_done":
            met, lost = not still_open, False
        case "all_failed":
            met, lost = not still_open, has["s"] or has["k"]
        case "one_success":
            met, lost = has["s"], not still_open and not has["s"]
        case "one_failed":
            met, lost = has["f"], not still_open and not has["f"]
        case "none_failed":
            met, lost = not still_open, has["f"]
        case "none_failed_min_one_success":
            lost = has["f"] or (not still_open and not has["s"])
            met = not still_open and has["s"]
        case "all_skipped":
            met, lost = not still_open, has["s"] or has["f"]
        case _:
            met, lost = True, False
    return "never" if lost else "run" if met else "open"


class Watched(Progress):
    """A progress that also keeps, plainly, how each step ended."""

    def __init__(self, graph: Graph, rules: dict[str, str], *, is_fail_fast: bool) -> None:
        super().__init__(graph, rules, is_fail_fast=is_fail_fast)
        self.kinds: dict[str, str] = {}
        self.has_failed = False

    def record(
        self, name: str, status: StepStatus, *, skip_reason: str = "", is_tolerated: bool = False
    ) -> None:
        assert self.statuses.get(name) not in TERMINAL_STEP_STATUSES, f"{name} ended twice"
        super().record(name, status, skip_reason=skip_reason, is_tolerated=is_tolerated)
        if status not in TERMINAL_STEP_STATUSES:
            return
        if status is StepStatus.SKIPPED:
            self.kinds[name] = "f" if skip_reason == SkipReason.UPSTREAM_FAILED else "k"
        elif status is StepStatus.COMPLETED or is_tolerated:
            self.kinds[name] = "s"
        else:
            self.kinds[name] = "f"
            self.has_failed = True


@st.composite
def definitions(draw: st.DrawFn) -> tuple[Graph, dict[str, str], bool]:
    size = draw(st.integers(1, 14))
    names = [f"s{number}" for number in range(size)]
    dependencies = {
        name: draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=4))
        if number
        else []
        for number, name in enumerate(names)
    }
    rules = {name: draw(st.sampled_from(RULES)) for name in names}
    return Graph(dependencies), rules, draw(st.booleans())


def check_move(progress: Watched, rules: dict[str, str], move: Move) -> None:
    opinion = second_opinion(progress, rules, move.name)
    is_stopped = (
        progress.is_fail_fast
        and progress.has_failed
        and rules.get(move.name) not in ACCEPT_FAILURES
    )
    if isinstance(move, Start):
        assert opinion == "run"
        assert not is_stopped
    else:
        assert opinion == "never" or (opinion == "run" and is_stopped)


def settle(progress: Watched, rules: dict[str, str], ended: list[str] | None) -> list[str]:
    """Make moves until there are none left; return the steps that were started."""
    started = []
    while ended is None or ended:
        moves = next_moves(progress, ended)
        assert sorted(moves, key=str) == sorted(next_moves(progress), key=str)
        ended = []
        for move in moves:
            check_move(progress, rules, move)
        for move in moves:
            if isinstance(move, Start):
                progress.record(move.name, StepStatus.RUNNING)
                started.append(move.name)
            else:
                progress.record(move.name, StepStatus.SKIPPED, skip_reason=move.reason)
                ended.append(move.name)
    for name in progress.graph.order:
        if name not in progress.statuses:
            assert second_opinion(progress, rules, name) == "open", f"{name} was forgotten"
    return started


@given(definitions(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_every_run_ends_and_no_step_starts_before_its_rule_allows(
    definition: tuple[Graph, dict[str, str], bool], random: Random
) -> None:
    graph, rules, is_fail_fast = definition
    progress = Watched(graph, rules, is_fail_fast=is_fail_fast)
    running = settle(progress, rules, None)
    while running:
        name = running.pop(random.randrange(len(running)))
        status = random.choice(sorted(TERMINAL_STEP_STATUSES))
        progress.record(
            name,
            status,
            skip_reason=SkipReason.CONDITION_FALSE if status is StepStatus.SKIPPED else "",
            is_tolerated=random.random() < 0.2,
        )
        running += settle(progress, rules, [name])
    assert set(progress.kinds) == set(graph.order)
    assert progress.unfinished == 0


@given(definitions(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_run_that_is_read_again_goes_on_alike(
    definition: tuple[Graph, dict[str, str], bool], random: Random
) -> None:
    """What a driver reads after a takeover leads to the same moves, in whatever order."""
    graph, rules, is_fail_fast = definition
    progress = Watched(graph, rules, is_fail_fast=is_fail_fast)
    noted: dict[str, tuple[StepStatus, str]] = {}
    running = settle(progress, rules, None)
    for _ in range(random.randrange(len(graph) + 1)):
        if not running:
            break
        name = running.pop()
        status = random.choice([StepStatus.COMPLETED, StepStatus.FAILED])
        progress.record(name, status)
        running += settle(progress, rules, [name])
    for name, status in progress.statuses.items():
        was_failure = status is StepStatus.SKIPPED and progress.kinds[name] == "f"
        reason = SkipReason.UPSTREAM_FAILED if was_failure else ""
        noted[name] = (status, reason)
    again = Progress(graph, rules, is_fail_fast=is_fail_fast)
    for name in random.sample(sorted(noted), len(noted)):
        again.record(name, noted[name][0], skip_reason=noted[name][1])
    assert again.unfinished == progress.unfinished
    assert next_moves(again) == next_moves(progress) == []
    assert set(again.failures) == set(progress.failures)
