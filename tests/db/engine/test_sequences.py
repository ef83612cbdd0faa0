"""Branches inside sequential blocks, and gates there that lead to a step."""

from typing import Any

import pytest

from tests.db.engine.blocks import sequential, status_of
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, statuses, task
from workflows.services.open_steps import open_steps

pytestmark = pytest.mark.django_db

NOT_TAKEN = "skipped branch_not_taken"


def choice(name: str, **branches: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "step_type": "condition",
        "condition_expression": "go",
        "config": {"branches": branches},
    }


FORK = sequential(
    "block",
    choice("choose", true=["left"], false=["right"]),
    task("left", after=["choose"]),
    task("right", after=["choose"]),
    task("after"),
)


@pytest.mark.parametrize("go", [True, False])
def test_the_branch_that_is_taken_runs_and_the_sequence_goes_on(
    scene: Scene, hand: DriverByHand, go: bool
) -> None:
    execution = scene.run(
        FORK,
        variables=[{"name": "go", "data_type": "bool", "default_value": go}],
    )
    taken, other = ("left", "right") if go else ("right", "left")
    hand.turn()
    assert set(hand.begun) == {taken}
    hand.finish(taken)
    assert set(hand.begun) == {"after"}
    hand.finish("after")
    assert statuses(execution)[other] == NOT_TAKEN
    assert status_of(execution) == "completed"


@pytest.mark.parametrize(
    ("outcome", "done", "passed_over"),
    [
        ("rejected", ["tidy", "report"], ["deploy", "announce"]),
        ("approved", ["deploy", "announce", "report"], ["tidy"]),
    ],
)
def test_a_gate_that_leads_to_a_step_passes_over_what_stands_between(
    scene: Scene, hand: DriverByHand, outcome: str, done: list[str], passed_over: list[str]
) -> None:
    execution = scene.run(
        sequential(
            "block",
            task("make"),
            gate("gate", after=["make"], on_reject="tidy"),
            task("deploy", after=["gate"]),
            task("announce"),
            task("tidy", after=["gate"]),
            task("report"),
        )
    )
    hand.turn()
    hand.finish("make")
    scene.decide(execution, outcome, "So be it")
    hand.turn()
    for step in done:
        assert set(hand.begun) == {step}
        hand.finish(step)
    found = statuses(execution)
    assert all(found[step] == NOT_TAKEN for step in passed_over)
    assert status_of(execution) == "completed"


def test_what_comes_behind_a_branch_not_taken_is_not_said_to_be_next(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        FORK,
        variables=[{"name": "go", "data_type": "bool", "default_value": True}],
    )
    hand.turn()
    [running] = open_steps(execution).steps
    assert running.name == "left"


def test_after_a_failure_or_a_false_condition_nothing_more_of_it_is_done(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        sequential("block", task("one") | {"condition_expression": "1 > 2"}, task("two")),
    )
    hand.turn()
    assert statuses(execution)["two"] == "skipped upstream_skipped"
    assert status_of(execution) == "completed"
