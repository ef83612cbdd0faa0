"""What runs next in a sequential block: in order, past the branches that were not taken."""

from itertools import pairwise

import pytest

from workflows.core.graph import Graph
from workflows.core.planner import Skip, Start, next_moves
from workflows.core.sequence import InTurn
from workflows.core.states import SkipReason, StepStatus

NOT_TAKEN = SkipReason.BRANCH_NOT_TAKEN


def in_order(*names: str, named: tuple[str, ...] = (), **rules: str) -> InTurn:
    """Return a sequence of steps of which only ``named`` name the one before them."""
    needs = {name: [before] for before, name in pairwise(names)}
    graph = Graph({name: needs.get(name, []) for name in names})
    only_in_turn = frozenset(names[1:]) - frozenset(named)
    return InTurn(graph, rules, is_fail_fast=False, only_in_turn=only_in_turn)


def complete(progress: InTurn, name: str) -> list[Start | Skip]:
    progress.record(name, StepStatus.COMPLETED)
    return next_moves(progress, [name])


def pass_over(progress: InTurn, name: str) -> list[Start | Skip]:
    progress.record(name, StepStatus.SKIPPED, skip_reason=NOT_TAKEN)
    return next_moves(progress, [name])


def test_behind_a_branch_that_was_not_taken_the_sequence_goes_on() -> None:
    progress = in_order("choose", "left", "right", "after")
    progress.rule_out(["left"])
    assert complete(progress, "choose") == [Skip("left", NOT_TAKEN)]
    assert pass_over(progress, "left") == [Start("right")]
    assert complete(progress, "right") == [Start("after")]


def test_what_comes_behind_a_branch_not_taken_waits_for_what_came_before_it() -> None:
    needs = {"choose": [], "left": ["choose"], "right": ["choose", "left"], "after": ["right"]}
    only_in_turn = frozenset({"right", "after"})
    progress = InTurn(Graph(needs), {}, is_fail_fast=False, only_in_turn=only_in_turn)
    progress.rule_out(["right"])
    assert complete(progress, "choose") == [Start("left"), Skip("right", NOT_TAKEN)]
    progress.record("left", StepStatus.RUNNING)
    assert pass_over(progress, "right") == []
    assert complete(progress, "left") == [Start("after")]


@pytest.mark.parametrize(
    ("status", "reason", "move"),
    [
        (StepStatus.FAILED, "", Skip("after", SkipReason.UPSTREAM_FAILED)),
        (
            StepStatus.SKIPPED,
            SkipReason.CONDITION_FALSE,
            Skip("after", SkipReason.UPSTREAM_SKIPPED),
        ),
        (StepStatus.COMPLETED, "", Start("after")),
    ],
)
def test_it_is_held_to_how_the_last_step_ended_that_was_not_passed_over(
    status: StepStatus, reason: str, move: Start | Skip
) -> None:
    progress = in_order("first", "left", "right", "after")
    progress.rule_out(["left", "right"])
    progress.record("left", StepStatus.SKIPPED, skip_reason=NOT_TAKEN)
    progress.record("right", StepStatus.SKIPPED, skip_reason=NOT_TAKEN)
    assert next_moves(progress, ["right"]) == []
    progress.record("first", status, skip_reason=reason)
    assert next_moves(progress, ["first"]) == [move]


def test_a_step_that_names_the_branch_before_it_is_skipped_with_it() -> None:
    progress = in_order("choose", "left", "more", named=("more",))
    progress.rule_out(["left"])
    complete(progress, "choose")
    assert pass_over(progress, "left") == [Skip("more", SkipReason.UPSTREAM_SKIPPED)]


def test_a_gate_that_leads_to_a_step_passes_over_all_that_stands_between() -> None:
    progress = in_order("gate", "deploy", "announce", "clean", "report")
    progress.go_to("gate", "clean")
    assert complete(progress, "gate") == [Skip("deploy", NOT_TAKEN)]
    assert pass_over(progress, "deploy") == [Skip("announce", NOT_TAKEN)]
    assert pass_over(progress, "announce") == [Start("clean")]
    assert complete(progress, "clean") == [Start("report")]


def test_done_anew_it_stands_at_its_beginning() -> None:
    progress = in_order("choose", "left", "right")
    progress.rule_out(["left"])
    complete(progress, "choose")
    pass_over(progress, "left")
    again = progress.anew()
    assert next_moves(again) == [Start("choose")]
    assert complete(again, "choose") == [Start("left")]


@pytest.mark.parametrize("rule", ["always", "one_success", "one_failed"])
def test_no_rule_begins_a_step_before_the_one_before_it_is_over(rule: str) -> None:
    graph = Graph({"a": [], "b": ["a"], "c": ["a", "b"]})
    progress = InTurn(graph, {"c": rule}, is_fail_fast=False, only_in_turn=frozenset({"b"}))
    has_failed = rule == "one_failed"
    progress.record("a", StepStatus.FAILED if has_failed else StepStatus.COMPLETED)
    assert Start("c") not in next_moves(progress, ["a"])
    progress.record("b", StepStatus.COMPLETED)
    assert next_moves(progress, ["b"]) == [Start("c")]
