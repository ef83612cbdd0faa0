"""Steps inside steps: what is checked when a definition with blocks is saved."""

from typing import Any

import pytest

from workflows.core.compiled import compile_definition
from workflows.core.definition import Limits, parse_definition
from workflows.core.resolver import resolve_execution_order
from workflows.core.validation import validate


def task(name: str, *after: str, **config: Any) -> dict[str, Any]:
    return {
        "name": name,
        "step_type": "task",
        "depends_on_steps": list(after),
        "config": {"task": "t", **config},
    }


def block(kind: str, name: str, *steps: Any, after: tuple[str, ...] = (), **config: Any) -> Any:
    return {
        "name": name,
        "step_type": kind,
        "depends_on_steps": list(after),
        "config": {"steps": list(steps), **config},
    }


def document(*steps: Any) -> dict[str, Any]:
    return {"name": "w", "steps": list(steps)}


def errors_of(*steps: Any) -> list[tuple[str, str, str]]:
    return [(p.step_name, p.error_type, p.path) for p in validate(document(*steps)).errors]


IN_P = "/steps/0/config/steps"


def test_steps_see_their_siblings_and_what_came_before_their_block() -> None:
    assert not errors_of(
        task("first"),
        block(
            "parallel",
            "p",
            task("a", inputs={"x": "${steps.first.y}"}),
            block("sequential", "s", task("b", inputs={"x": "${steps.a.y}"}), after=("a",)),
            after=("first",),
        ),
        task("last", "p", inputs={"x": "${steps.p.a.y}"}),
    )


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (
            [block("parallel", "p", task("a"), task("b", inputs={"x": "${steps.a.y}"}))],
            ("b", "not_an_ancestor", f"{IN_P}/1/config/inputs/x"),
        ),
        (
            [block("parallel", "p", task("a")), task("b", "p", inputs={"x": "${steps.a.y}"})],
            ("b", "not_an_ancestor", "/steps/1/config/inputs/x"),
        ),
        (
            [block("parallel", "p", task("a", "b")), task("b")],
            ("a", "unknown_dependency", f"{IN_P}/0/depends_on_steps/0"),
        ),
        (
            [block("parallel", "p", task("a")), task("b", "a")],
            ("b", "unknown_dependency", "/steps/1/depends_on_steps/0"),
        ),
        (
            [block("parallel", "p", task("a")), task("A")],
            ("a", "duplicate_name", f"{IN_P}/0/name"),
        ),
        (
            [block("parallel", "p", task("a", "b"), task("b", "a"))],
            ("a", "cycle", f"{IN_P}/0/depends_on_steps"),
        ),
        (
            [block("sequential", "s", task("a", "b"), task("b"))],
            ("a", "cycle", f"{IN_P}/0/depends_on_steps"),
        ),
        ([block("parallel", "p")], ("p", "too_short", IN_P)),
        (
            [{**block("parallel", "p", task("a")), "max_retries": 2}],
            ("p", "not_supported", "/steps/0/max_retries"),
        ),
        (
            [block("sequential", "s", task("a"), for_each=[1], repeat_until="true")],
            ("s", "invalid_choice", "/steps/0/config/repeat_until"),
        ),
        (
            [block("sequential", "s", task("a"), repeat_until="steps.b.x", max_iterations=5)],
            ("s", "unknown_step", "/steps/0/config/repeat_until"),
        ),
        (
            [block("parallel", "p", task("a"), for_each="${variables.nothing}")],
            ("p", "undeclared_variable", "/steps/0/config/for_each"),
        ),
        (
            [block("parallel", "p", task("a"), max_concurrency=0)],
            ("p", "out_of_range", "/steps/0/config/max_concurrency"),
        ),
        (
            [block("sequential", "s", task("a"), max_iterations=10**9)],
            ("s", "out_of_range", "/steps/0/config/max_iterations"),
        ),
    ],
)
def test_what_is_wrong_inside_a_block_is_told_with_its_place(
    steps: list[Any], error: tuple[str, str, str]
) -> None:
    assert error in errors_of(*steps)


def test_what_is_wrong_in_several_blocks_is_told_at_once() -> None:
    found = errors_of(
        block("parallel", "p", task("a", "nowhere"), {"name": "b", "step_type": "task"}),
        block("sequential", "s", task("c", inputs={"x": "${nothing}"})),
    )
    assert {step for step, _, _ in found} == {"a", "b", "c"}


def test_the_position_in_a_loop_means_something_inside_it_only() -> None:
    inside = task("a", inputs={"x": "${item}", "y": "${index}"})
    assert not errors_of(block("parallel", "p", inside, for_each=[1]))
    assert not errors_of(block("parallel", "p", block("parallel", "q", inside), for_each=[1]))
    assert errors_of(block("parallel", "p", inside))
    assert errors_of(block("parallel", "p", task("b"), for_each=[1]), inside)


def test_what_is_repeated_has_a_position_and_no_item() -> None:
    counted = task("a", inputs={"x": "${index}"})
    assert not errors_of(block("sequential", "s", counted, repeat_until="index > 2"))
    path = f"{IN_P}/0/config/inputs/x"
    itemised = task("a", inputs={"x": "${item}"})
    loop = block("sequential", "s", itemised, repeat_until="true")
    assert errors_of(loop) == [("a", "unknown_field", path)]
    loop = block("sequential", "s", task("a"), repeat_until="item == 1")
    assert errors_of(loop) == [("s", "unknown_field", "/steps/0/config/repeat_until")]
    inner = block("sequential", "s", itemised, repeat_until="item == 1")
    assert not errors_of(block("parallel", "p", inner, for_each=[1]))


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [("a[0]", True), ("a[0][17]", True), ("a[x]", False), ("b[0]", False), ("p[0]", False)],
)
def test_no_step_is_called_like_a_round_of_another_one(name: str, is_taken: bool) -> None:
    loop = block("parallel", "p", block("parallel", "q", task("a")), for_each=[1])
    errors = errors_of(loop, task(name), task("b"))
    assert errors == ([(name, "duplicate_name", "/steps/1/name")] if is_taken else [])


def test_a_block_with_the_name_of_the_one_around_it_is_refused() -> None:
    step = task("t", inputs={"x": "${item}"})
    errors = errors_of(block("parallel", "p", block("parallel", "p", step)))
    assert ("p", "duplicate_name", f"{IN_P}/0/name") in errors
    assert ("t", "unknown_field", f"{IN_P}/0/config/steps/0/config/inputs/x") in errors


def test_nested_steps_count_against_the_limit() -> None:
    many = document(block("parallel", "p", *[task(f"s{n}") for n in range(5)]))
    (problem,) = validate(many, limits=Limits(steps=5)).errors
    assert problem.error_type == "too_many_steps"
    assert validate(many, limits=Limits(steps=6)).is_valid


@pytest.mark.parametrize("depth", [200, 5_000])
def test_blocks_are_not_nested_for_ever(depth: int) -> None:
    step: Any = task("t")
    for number in range(depth):
        step = block("parallel", f"p{number}", step)
    (problem,) = validate(document(step)).errors
    assert problem.error_type in ("too_deep", "too_many_steps")


def test_a_block_compiles_with_the_order_of_its_steps() -> None:
    compiled = compile_definition(
        parse_definition(
            document(block("sequential", "s", task("b"), task("a"), task("c")), task("d", "s"))
        )
    )
    assert compiled.graphs["s"].order == ("b", "a", "c")
    assert compiled.graph.order == ("s", "d")
    assert compiled.blocks == {"s": "", "d": "", "a": "s", "b": "s", "c": "s"}


def test_the_resolver_takes_a_block_as_one_step() -> None:
    inner = [task("a"), task("b", "a")]
    steps = [block("parallel", "p", *inner), task("c", "p")]
    assert resolve_execution_order(steps) == [["p"], ["c"]]
    assert resolve_execution_order(steps[0]["config"]["steps"]) == [["a"], ["b"]]


# --- branches and fallbacks ---------------------------------------------------------------


def condition(**config: Any) -> dict[str, Any]:
    return {
        "name": "if",
        "step_type": "condition",
        "condition_expression": "true",
        "config": config,
    }


def test_the_steps_of_a_branch_depend_on_their_condition() -> None:
    assert not errors_of(
        condition(branches={"true": ["a"]}, default=["b"]), task("a", "if"), task("b", "if")
    )
    place = "/steps/0/config/branches/true/0"
    assert ("if", "unknown_branch_step", place) in errors_of(
        condition(branches={"true": ["a"]}), task("a")
    )
    assert ("if", "unknown_branch_step", "/steps/0/config/default/0") in errors_of(
        condition(default=["nobody"])
    )


@pytest.mark.parametrize(
    ("fallback", "error_type"),
    [
        ({"task": "t"}, "fallback_cycle"),
        ({"task": "u", "output": 1}, "invalid_choice"),
        ({}, "invalid_choice"),
        ({"tusk": "u"}, "unknown_field"),
    ],
)
def test_a_fallback_is_one_other_thing(fallback: dict[str, Any], error_type: str) -> None:
    found = errors_of(task("a", fallback=fallback))
    assert error_type in {kind for _, kind, _ in found}


def test_an_agent_does_not_fall_back_to_itself() -> None:
    step = {"name": "a", "step_type": "agent", "agent_definition_id": "worker"}
    step["config"] = {"fallback": {"agent_definition_id": "worker"}}  # type: ignore[assignment]
    place = "/steps/0/config/fallback/agent_definition_id"
    assert errors_of(step) == [("a", "fallback_cycle", place)]


@pytest.mark.parametrize("kind", ["approval", "condition", "wait"])
def test_only_what_works_has_a_fallback(kind: str) -> None:
    step: dict[str, Any] = {"name": "a", "step_type": kind, "config": {"fallback": {"output": 1}}}
    if kind == "condition":
        step["condition_expression"] = "true"
    if kind == "wait":
        step["config"]["seconds"] = 1
    assert ("a", "not_supported", "/steps/0/config/fallback") in errors_of(step)
