"""The resolver's functions on plain definitions."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workflows
from workflows.core.definition import parse_definition
from workflows.core.errors import DefinitionError
from workflows.core.resolver import (
    can_execute_step_now,
    get_next_executable_steps,
    get_parallel_execution_groups,
    get_topological_order,
    resolve_execution_order,
    validate_workflow,
)


def step(name: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "step_type": "task", "depends_on_steps": list(needs), **fields}


RESOLVER = (
    can_execute_step_now,
    get_next_executable_steps,
    get_parallel_execution_groups,
    get_topological_order,
    resolve_execution_order,
    validate_workflow,
)
DIAMOND = [
    step("end", "left", "right", step_order=4),
    step("right", "start", step_order=3),
    step("left", "start", step_order=2),
    step("start", step_order=1),
]
EXAMPLE = [
    {
        "name": "generate_plan",
        "step_type": "agent",
        "agent_definition_id": "planner_agent_id",
        "step_order": 1,
        "config": {"inputs": {"task": "${task_description}"}},
    },
    {
        "name": "approval_gate",
        "step_type": "approval",
        "step_order": 2,
        "depends_on_steps": ["generate_plan"],
        "config": {"approval": {"title": "Approve Deployment Plan", "required_approvers": ["u"]}},
    },
    {
        "name": "execute_plan",
        "step_type": "agent",
        "agent_definition_id": "executor_agent_id",
        "step_order": 3,
        "depends_on_steps": ["approval_gate"],
        "config": {"inputs": {"plan": "steps.generate_plan.result"}},
    },
]


def test_levels_hold_what_can_run_side_by_side() -> None:
    levels = [["start"], ["left", "right"], ["end"]]
    assert resolve_execution_order(DIAMOND) == levels
    assert get_parallel_execution_groups(DIAMOND) == levels
    assert get_topological_order(DIAMOND) == ["start", "left", "right", "end"]


def test_a_list_a_document_and_a_definition_are_answered_alike() -> None:
    document = {"name": "w", "steps": EXAMPLE, "variables": [{"name": "task_description"}]}
    definition = parse_definition(document)
    for steps in (EXAMPLE, document, definition, definition.steps):
        assert get_topological_order(steps) == ["generate_plan", "approval_gate", "execute_plan"]


def test_a_step_can_start_when_all_it_needs_is_completed() -> None:
    end = DIAMOND[0]
    assert not can_execute_step_now(end, {"left"}, set())
    assert not can_execute_step_now(end, ["left"], ["right"])
    assert can_execute_step_now(end, {"start", "left", "right"}, set())
    assert not can_execute_step_now(end, {"left", "right"}, {"end"})
    assert not can_execute_step_now(end, {"left", "right", "end"}, set())
    assert can_execute_step_now({"name": "a"}, [], [])


def test_a_block_can_start_when_all_it_needs_is_completed() -> None:
    block = step("block", "start", step_type="parallel", config={"steps": [step("inner")]})
    assert not can_execute_step_now(block, [], ["start"])
    assert can_execute_step_now(block, ["start"], [])


def test_what_has_no_name_is_no_step() -> None:
    with pytest.raises(ValueError, match="has no name"):
        can_execute_step_now({}, [], [])


def test_the_package_offers_what_the_resolver_does() -> None:
    assert set(workflows.__all__) == {f.__name__ for f in RESOLVER}
    assert all(getattr(workflows, f.__name__) is f for f in RESOLVER)


def test_the_next_steps_are_those_that_can_start() -> None:
    assert get_next_executable_steps(DIAMOND, set(), set()) == ["start"]
    assert get_next_executable_steps(DIAMOND, {"start"}, set()) == ["left", "right"]
    assert get_next_executable_steps(DIAMOND, {"start"}, {"left"}) == ["right"]
    assert get_next_executable_steps(DIAMOND, {"start", "left"}, {"right"}) == []
    assert get_next_executable_steps(DIAMOND, ["start", "left", "right"], []) == ["end"]
    assert get_next_executable_steps(DIAMOND, {"start", "left", "right", "end"}, set()) == []


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([step("a", "c"), step("b", "a"), step("c", "b")], "a → b → c → a"),
        ([step("a", "a")], "depends on itself"),
        ([step("a", "b")], "'a' depends on 'b'"),
        ([step("a"), step("a")], "twice"),
    ],
)
def test_what_has_no_order_is_refused(steps: list[Any], words: str) -> None:
    for ask in (resolve_execution_order, get_topological_order, get_parallel_execution_groups):
        with pytest.raises(DefinitionError, match=words):
            ask(steps)
    with pytest.raises(DefinitionError, match=words):
        get_next_executable_steps(steps, (), ())


def test_the_answers_do_not_touch_the_definition() -> None:
    before = copy.deepcopy(EXAMPLE)
    get_next_executable_steps(EXAMPLE, {"generate_plan"}, ())
    validate_workflow(EXAMPLE)
    assert before == EXAMPLE


def test_the_example_is_valid_also_as_a_bare_list() -> None:
    report = validate_workflow(EXAMPLE)
    assert report.is_valid
    assert [problem.error_type for problem in report.warnings] == ["undeclared_variable"]
    document = {"name": "w", "steps": EXAMPLE}
    assert [p.error_type for p in validate_workflow(document).errors] == ["undeclared_variable"]
    document["variables"] = [{"name": "task_description"}]
    assert validate_workflow(document).is_valid
    assert validate_workflow(parse_definition(document)).is_valid


def test_errors_say_where_and_what() -> None:
    broken = [*EXAMPLE, {"name": "x", "step_type": "task", "config": {"task": "log"}, "foo": 1}]
    report = validate_workflow(broken)
    (problem,) = report.errors
    assert (problem.step_name, problem.error_type) == ("x", "unknown_field")
    assert (problem.path, bool(problem.message)) == ("/steps/3/foo", True)


@given(st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=1, max_size=8))
def test_running_what_is_next_runs_everything_in_order(needs: list[set[int]]) -> None:
    steps = [step(f"s{i}", *(f"s{j}" for j in sorted(n) if j < i)) for i, n in enumerate(needs)]
    completed: list[str] = []
    while found := get_next_executable_steps(steps, completed, ()):
        by_name = {item["name"]: item for item in steps}
        assert all(can_execute_step_now(by_name[name], completed, ()) for name in found)
        completed += found
    assert completed == [name for level in resolve_execution_order(steps) for name in level]
