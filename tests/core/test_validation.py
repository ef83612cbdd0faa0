"""What is checked when a definition is saved, and what a saved one is compiled to."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.compiled import compile_definition
from workflows.core.definition import Limits, parse_definition
from workflows.core.errors import DefinitionError
from workflows.core.scope import Scope
from workflows.core.validation import Context, Report, validate

REAL_GRAPHS = sorted((Path(__file__).parents[3] / "shared" / "data" / "dags").glob("*.json"))

EXAMPLE: dict[str, Any] = {
    "name": "Deploy",
    "variables": [{"name": "task_description", "data_type": "string", "is_required": True}],
    "steps": [
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
            "config": {
                "approval": {
                    "title": "Approve Deployment Plan",
                    "description": "Review the generated deployment plan",
                    "auto_approve_after_seconds": 3600,
                    "required_approvers": ["user123"],
                    "expires_after_seconds": 86400,
                }
            },
        },
        {
            "name": "execute_plan",
            "step_type": "agent",
            "agent_definition_id": "executor_agent_id",
            "step_order": 3,
            "depends_on_steps": ["approval_gate"],
            "config": {"inputs": {"plan": "steps.generate_plan.result"}},
        },
    ],
}


def task(name: str, *needs: str, inputs: Any = None, **fields: Any) -> dict[str, Any]:
    config = {"task": "log", "inputs": inputs or {}}
    return {
        "name": name,
        "step_type": "task",
        "depends_on_steps": list(needs),
        "config": config,
        **fields,
    }


def workflow(*steps: Any, variables: tuple[str, ...] = ("n",)) -> dict[str, Any]:
    declared = [{"name": name} for name in variables]
    return {"name": "w", "steps": list(steps), "variables": declared}


def errors_of(report: Report) -> set[tuple[str, str]]:
    return {(problem.error_type, problem.path) for problem in report.errors}


def warnings_of(report: Report) -> set[tuple[str, str]]:
    return {(problem.error_type, problem.path) for problem in report.warnings}


def test_the_example_is_valid_as_it_stands() -> None:
    report = validate(EXAMPLE)
    assert report.is_valid
    assert report.definition is not None
    # Row 15 of the bad inputs: accepted, and said.
    assert warnings_of(report) == {
        (
            "auto_approve_with_approvers",
            "/steps/1/config/approval/auto_approve_after_seconds",
        )
    }


def test_a_workspace_can_forbid_gates_that_approve_themselves() -> None:
    report = validate(EXAMPLE, Context(allows_auto_approval=False))
    assert errors_of(report) == {
        ("auto_approve_forbidden", "/steps/1/config/approval/auto_approve_after_seconds")
    }
    assert report.warnings == []


def test_a_cycle_is_named_with_its_path() -> None:
    report = validate(workflow(task("a", "c"), task("b", "a"), task("c", "b"), task("d", "c")))
    (problem,) = report.errors
    assert problem.error_type == "cycle"
    assert "a → b → c → a" in problem.message
    assert (problem.step_name, problem.path) == ("a", "/steps/0/depends_on_steps")


@pytest.mark.parametrize(
    ("steps", "expected", "words"),
    [
        (
            [task("a", "a")],
            {("self_dependency", "/steps/0/depends_on_steps/0")},
            ["'a' depends on itself"],
        ),
        (
            [task("a"), task("b", "a", "c")],
            {("unknown_dependency", "/steps/1/depends_on_steps/1")},
            ["'b'", "'c'"],
        ),
        (
            [task("Plan"), task("b", "plan")],
            {("unknown_dependency", "/steps/1/depends_on_steps/0")},
            ["'Plan'"],
        ),
        ([task("a"), task("a")], {("duplicate_name", "/steps/1/name")}, ["twice"]),
        ([task("a"), task("A")], {("duplicate_name", "/steps/1/name")}, ["reads like 'a'"]),
        (
            [task("caf\u00e9"), task("cafe\u0301")],
            {("duplicate_name", "/steps/1/name")},
            ["reads like"],
        ),
        ([task("a b"), task("A  b")], {("duplicate_name", "/steps/1/name")}, ["reads like"]),
    ],
)
def test_names_must_fit_together(
    steps: list[Any], expected: set[tuple[str, str]], words: list[str]
) -> None:
    report = validate(workflow(*steps))
    assert errors_of(report) == expected
    assert all(word in report.errors[0].message for word in words)


@pytest.mark.parametrize(
    ("inputs", "error_type"),
    [
        ("${steps.c.x}", "not_an_ancestor"),
        ("steps.c.x", "not_an_ancestor"),
        ("${steps.b.x}", "not_an_ancestor"),
        ("${steps.side.x}", "not_an_ancestor"),
        ("${steps.nope.x}", "unknown_step"),
        ("${nope}", "undeclared_variable"),
        ("${variables.nope}", "undeclared_variable"),
        ("${().__class__}", "expression_error"),
        ("${__import__('os')}", "expression_error"),
        ("${9**9**9}", "expression_error"),
        ("${execution.token}", "unknown_field"),
        ("${", "expression_error"),
    ],
)
def test_references_are_checked_where_they_stand(inputs: str, error_type: str) -> None:
    document = workflow(
        task("a"), task("side"), task("b", "a", inputs={"k/1": [inputs]}), task("c", "b")
    )
    assert errors_of(validate(document)) == {(error_type, "/steps/2/config/inputs/k~11/0")}


@pytest.mark.parametrize("inputs", ["${steps.a.x}", "steps.a.x", "${n}", "${steps.b.x + n}"])
def test_near_and_far_ancestors_can_be_referred_to(inputs: str) -> None:
    document = workflow(task("a"), task("b", "a"), task("c", "b", inputs={"x": inputs}))
    assert validate(document).is_valid


@pytest.mark.parametrize(
    ("condition", "error_type"),
    [
        ("steps.b.ok", "not_an_ancestor"),
        ("steps.nope.ok", "unknown_step"),
        ("nope == 1", "undeclared_variable"),
        ("().__class__", "expression_error"),
        ("-" * 100_000 + "1", "expression_error"),
        ("(" * 300 + ")" * 300, "expression_error"),
        ("${n}", "expression_error"),
        ("", "expression_error"),
    ],
)
def test_conditions_are_compiled_at_save(condition: str, error_type: str) -> None:
    report = validate(workflow(task("a", condition_expression=condition), task("b")))
    assert errors_of(report) == {(error_type, "/steps/0/condition_expression")}


@pytest.mark.parametrize("condition", ['"a" > 1', "1 + 1", "'true'"])
def test_conditions_that_must_fail_are_doubted_and_kept(condition: str) -> None:
    report = validate(workflow(task("a", condition_expression=condition)))
    assert report.is_valid
    assert warnings_of(report) == {("type_mismatch", "/steps/0/condition_expression")}


def test_the_texts_of_an_approval_are_checked() -> None:
    gate = {
        "name": "gate",
        "step_type": "approval",
        "config": {"approval": {"title": "${nope}", "description": "x ${steps.nope.y}"}},
    }
    assert errors_of(validate(workflow(gate))) == {
        ("undeclared_variable", "/steps/0/config/approval/title"),
        ("unknown_step", "/steps/0/config/approval/description"),
    }


def test_what_is_doubtful_is_a_warning() -> None:
    document = workflow(
        task("a", step_order=1),
        task("b", "a", "a", step_order=4, inputs={"x": "steps.pland.result"}),
    )
    report = validate(document)
    assert report.is_valid
    assert warnings_of(report) == {
        ("duplicate_dependency", "/steps/1/depends_on_steps"),
        ("step_order_gap", "/steps/1/step_order"),
        ("unknown_step", "/steps/1/config/inputs/x"),
    }


def test_equal_orders_are_parallel_siblings() -> None:
    steps = [task("a", step_order=1), task("b", step_order=2), task("c", step_order=2)]
    assert validate(workflow(*steps)).warnings == []


def test_variables_are_declared_once() -> None:
    report = validate(workflow(task("a"), variables=("x", "x", "X", "x_")))
    assert {error.error_type for error in report.errors} == {"duplicate_name"}
    assert [(error.path, error.message) for error in report.errors] == [
        ("/variables/1/name", "The variable 'x' is declared twice"),
        ("/variables/2/name", "The variable 'X' reads like 'x'"),
    ]


def test_everything_wrong_is_told_at_once() -> None:
    document = workflow(
        task("a", "b", timeout_seconds=0),
        task("b", "a"),
        task("c", "nope", inputs={"x": "${undeclared}"}),
        task("C", "C", condition_expression="1 +"),
        {"name": "m", "step_type": "magic"},
        variables=("n", "n"),
    )
    document["timeout_seconds"] = True
    report = validate(document, Context(known_tasks=lambda names: ()))
    assert not report.is_valid
    assert report.definition is None
    assert {error_type for error_type, _ in errors_of(report)} == {
        "cycle",
        "out_of_range",
        "wrong_type",
        "unknown_step_type",
        "unknown_dependency",
        "self_dependency",
        "duplicate_name",
        "undeclared_variable",
        "expression_error",
        "unknown_task",
    }


def told(*steps: Any, **known: Any) -> list[tuple[str, str]]:
    """Return (type, path within the steps) of every error, in the order in which they are told."""
    before = json.dumps(steps)
    report = validate(workflow(*steps), Context(**known))
    assert json.dumps(steps) == before
    return [(p.error_type, p.path.removeprefix("/steps/")) for p in report.errors]


def step_of(step_type: str, config: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "a", "step_type": step_type, "config": config, **fields}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            task("a", inputs={"x": "${nope}"}, timeout_seconds=-1, trigger_rule="zz"),
            ["timeout_seconds", "trigger_rule", "config/inputs/x", "config/task"],
        ),
        (step_of("task", {"inputs": {"x": "${nope}"}}), ["config/task", "config/inputs/x"]),
        (
            step_of("magic", {"inputs": {"x": "${nope}"}, "magic": 1}),
            ["step_type", "config/inputs/x"],
        ),
        (
            step_of("agent", {"inputs": {"x": "${nope}"}}, max_retries="5"),
            ["max_retries", "agent_definition_id", "config/inputs/x"],
        ),
        (
            step_of("wait", {"seconds": 5, "event": "go", "inputs": {"x": "${nope}"}}),
            ["config", "config/inputs/x"],
        ),
        (
            step_of("condition", {"branches": {"true": ["b"], "false": 5}}),
            ["condition_expression", "config/branches/false", "config/branches/true/0"],
        ),
        (
            task("a", 5, "gone"),  # type: ignore[arg-type]
            ["depends_on_steps/0", "depends_on_steps/1", "config/task"],
        ),
        (
            step_of("parallel", {"max_concurrency": 0, "for_each": "${nope}", "steps": []}),
            ["config/steps", "config/max_concurrency", "config/for_each"],
        ),
        (
            {**task("a", inputs={"x": "${nope} ${steps.b.x} ${item}"}), "name": 5},
            ["name", "config/inputs/x", "config/task"],
        ),
    ],
)
def test_what_cannot_be_read_of_a_step_hides_nothing_else_of_it(
    step: Any, expected: list[str]
) -> None:
    found = told(step, {**task("b"), "config": {"task": "known"}}, known_tasks=known("known"))
    assert sorted(path for _, path in found) == sorted(f"0/{path}" for path in expected)


@pytest.mark.parametrize(
    ("step", "only"),
    [
        (step_of("agent", {}, agent_instance_id=5), "agent_instance_id"),
        (step_of("agent", {}, agent_definition="planner"), "agent_definition"),
        (step_of("wait", {"seconds": -1}), "config/seconds"),
        (step_of("wait", {"second": 1, "inputs": {}}), "config/second"),
        (step_of("task", {"task": ""}), "config/task"),
        (step_of("task", {"task": "t", "inputs": ["${nope}"]}), "config/inputs"),
        (step_of("task", {"task": "t", "fallback": {"task": ""}}), "config/fallback/task"),
        (
            step_of("task", {"task": "t", "inputs": {"x": "${steps.b.x}"}}, depends_on_steps="b"),
            "depends_on_steps",
        ),
        (
            step_of("parallel", {"for_each": 5, "steps": [task("in", inputs={"x": "${item}"})]}),
            "config/for_each",
        ),
    ],
)
def test_what_only_follows_from_another_error_is_not_told(step: Any, only: str) -> None:
    assert [path for _, path in told(step, task("b"))] == [f"0/{only}"]


@pytest.mark.parametrize("name", [None, ""])
def test_of_a_step_without_a_name_only_what_does_not_hang_on_the_name_is_told(name: Any) -> None:
    approval = {"on_reject": "no", "on_timeout": "gone", "revise": "plan", "min_approvals": "all"}
    asking = step_of("approval", {"approval": approval}, name=name, depends_on_steps=["plan"])
    branches = {"true": ["no"], "false": ["gone"]}
    choosing = step_of("condition", {"branches": branches}, name=name, condition_expression="true")
    for step, others in (
        (asking, ["approval/on_timeout", "approval/min_approvals"]),
        (choosing, ["branches/false/0"]),
    ):
        paths = [path for _, path in told(step, task("plan"), task("no"))]
        assert paths == ["0/name", *(f"0/config/{path}" for path in others)]


def test_a_step_in_a_block_that_cannot_be_read_is_checked_where_it_stands() -> None:
    block = step_of(
        "sequential",
        {"for_each": [1], "steps": [task("x", inputs={"n": "${item} ${nope}"}, max_retries=-1)]},
        max_retries=2,
    )
    assert told(block) == [
        ("out_of_range", "0/config/steps/0/max_retries"),
        ("not_supported", "0/max_retries"),
        ("undeclared_variable", "0/config/steps/0/config/inputs/n"),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        [task("x", "y"), task("y", "x")],
        [task("x", "gone")],
        [task("x", "x")],
        [task("x"), task("x")],
        [task("x", timeout_seconds=0)],
    ],
    ids=["cycle", "unknown", "itself", "twice", "unread"],
)
def test_a_reference_to_a_step_beside_is_told_whatever_is_wrong_elsewhere(
    broken: list[Any],
) -> None:
    behind = task("behind", "x", inputs={"n": "${steps.a.n}"})
    found = told(task("a"), task("b", inputs={"n": "${steps.a.n}"}), *broken, behind)
    assert ("not_an_ancestor", "1/config/inputs/n") in found
    # Of what waits for a broken step nobody knows what it will wait for in the end.
    is_known = "timeout_seconds" in broken[0]
    assert (("not_an_ancestor", f"{2 + len(broken)}/config/inputs/n") in found) == is_known


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${nope} ${nope2} ${steps.zz.q} ${n}", ["'nope'", "'nope2'", "'zz'"]),
        ("${nope} ${nope} ${execution.token}", ["'nope'", "'token'"]),
        ("${nope + n} ${", ["'nope'", "not closed"]),
        ("${nope > 1 && steps.zz.q < nope2 && nope > 2}", ["'nope'", "'zz'", "'nope2'"]),
    ],
)
def test_every_reference_of_a_text_is_told_once(text: str, expected: list[str]) -> None:
    report = validate(workflow(task("a", inputs={"x": text})))
    assert {problem.path for problem in report.errors} == {"/steps/0/config/inputs/x"}
    messages = [problem.message for problem in report.errors]
    assert len(messages) == len(expected)
    assert all(word in message for word, message in zip(expected, messages, strict=True))


def test_every_name_of_a_condition_is_told_once() -> None:
    condition = "nope > 1 && nope2 < 3 && steps.zz.a == nope"
    report = validate(workflow(task("a", condition_expression=condition)))
    kinds = [problem.error_type for problem in report.errors]
    assert kinds == ["undeclared_variable", "undeclared_variable", "unknown_step"]


def test_of_a_name_of_a_megabyte_only_its_length_is_told() -> None:
    step = step_of("task", {"task": "log"}, name="a" + "[0]" * 350_000)
    assert told(step) == [("too_long", "0/name")]


def test_5000_steps_that_cannot_be_read_are_told_quickly() -> None:
    document = chain(5_000)
    for step in document["steps"]:
        step |= {"timeout_seconds": -1, "max_retries": "5"}
        step["config"]["inputs"]["x"] = "${nope} " * 100
    start = time.process_time()
    report = validate(document, limits=Limits(document_bytes=10_000_000))
    assert len(report.errors) == 15_000
    assert time.process_time() - start < 5


@pytest.mark.parametrize("document", [None, [], "x", 5, {}, {"steps": 5}, {"steps": [None, 5, {}]}])
def test_what_is_no_definition_has_errors(document: Any) -> None:
    report = validate(document)
    assert report.errors
    assert report.definition is None


def test_what_cannot_be_read_is_not_looked_into() -> None:
    deep: Any = "${n}"
    for _ in range(100_000):
        deep = [deep]
    report = validate(workflow(task("a", inputs={"x": deep})))
    assert [problem.error_type for problem in report.errors] == ["too_deep"]


def known(*names: str) -> Callable[[frozenset[str]], frozenset[str]]:
    return lambda asked: frozenset(names) & asked


def test_registries_are_asked_once_for_all_names() -> None:
    asked: list[frozenset[str]] = []

    def remember(names: frozenset[str]) -> frozenset[str]:
        asked.append(names)
        return names - {"executor_agent_id"}

    report = validate(EXAMPLE, Context(known_agents=remember, known_approvers=known("user123")))
    assert asked == [frozenset(("planner_agent_id", "executor_agent_id"))]
    assert errors_of(report) == {("unknown_agent", "/steps/2/agent_definition_id")}


def test_unknown_tasks_agents_and_approvers_are_refused() -> None:
    document = workflow(
        task("t"),
        {"name": "i", "step_type": "agent", "agent_instance_id": "instance"},
        {
            "name": "gate",
            "step_type": "approval",
            "config": {"approval": {"required_approvers": ["anna", "group:nobody"]}},
        },
    )
    context = Context(
        known_tasks=known("transform"),
        known_agents=known(),
        known_agent_instances=known(),
        known_approvers=known("anna"),
    )
    assert errors_of(validate(document, context)) == {
        ("unknown_task", "/steps/0/config/task"),
        ("unknown_agent", "/steps/1/agent_instance_id"),
        ("unknown_approver", "/steps/2/config/approval/required_approvers/1"),
    }
    assert validate(document).is_valid


def chain(size: int) -> dict[str, Any]:
    steps = [
        task(
            f"s{i}",
            *([f"s{i - 1}"] if i else []),
            inputs={"before": f"steps.s{i - 1}.result", "n": "${n}"} if i else {},
        )
        for i in range(size)
    ]
    return workflow(*steps)


def test_a_chain_of_10000_is_refused_quickly_and_accepted_with_the_limit_raised() -> None:
    document = chain(10_000)
    start = time.process_time()
    assert errors_of(validate(document)) == {("too_many_steps", "/steps")}
    assert time.process_time() - start < 2
    report = validate(document, limits=Limits(steps=10_000))
    assert report.is_valid
    assert report.definition is not None
    compiled = compile_definition(report.definition)
    assert compiled.graph.order[-1] == "s9999"
    assert compiled.steps["s9999"].needs == {"s9998"}


def test_a_cycle_of_10000_is_found_without_recursion() -> None:
    document = chain(10_000)
    document["steps"][0]["depends_on_steps"] = ["s9999"]
    report = validate(document, limits=Limits(steps=10_000))
    assert [problem.error_type for problem in report.errors] == ["cycle"]
    assert len(report.errors[0].message) < 1_000


def test_a_complete_graph_of_500_steps_is_checked_within_two_seconds() -> None:
    steps = [task(f"s{i}", *(f"s{j}" for j in range(i))) for i in range(500)]
    start = time.process_time()
    assert validate(workflow(*steps)).is_valid
    assert time.process_time() - start < 2


@pytest.mark.parametrize("path", REAL_GRAPHS, ids=lambda path: path.stem)
def test_real_graphs_are_valid(path: Path) -> None:
    steps = json.loads(path.read_text())["steps"]
    document = workflow(*(task(step["name"], *step["depends_on"]) for step in steps))
    report = validate(document)
    assert report.errors == []
    assert report.definition is not None
    assert len(compile_definition(report.definition).graph) == len(steps)


def test_a_compiled_definition_has_what_the_engine_asks() -> None:
    gate = {
        "name": "its gate ${x}",
        "step_type": "approval",
        "depends_on_steps": ["a"],
        "config": {"approval": {"description": "of ${steps.a.title}"}, "inputs": {"n": "${n}"}},
    }
    document = workflow(
        task("a", max_retries=0),
        gate,
        task("b", "its gate ${x}", condition_expression="steps.a.ok && n > 1"),
    )
    report = validate(document)
    assert report.errors == []
    assert report.definition is not None
    compiled = compile_definition(report.definition)
    scope = Scope(variables={"n": 2}, steps={"a": {"title": "T", "ok": True}})
    first, approval, last = (compiled.steps[step["name"]] for step in document["steps"])
    assert (first.max_retries, last.max_retries) == (0, 3)
    assert first.condition is first.title is None
    assert approval.title is not None
    assert approval.title.resolve(scope) == "its gate ${x}"
    assert approval.description is not None
    assert approval.description.resolve(scope) == "of T"
    assert approval.inputs.resolve(scope) == {"n": 2}
    assert approval.needs == last.needs == {"a"}
    assert last.condition is not None
    assert last.condition.evaluate_condition(scope)
    assert list(compiled.steps) == ["a", "its gate ${x}", "b"]
    with pytest.raises(AttributeError):
        compiled.steps = {}  # type: ignore[misc]


def test_ties_follow_the_step_order_and_not_the_list() -> None:
    document = workflow(task("late", step_order=2), task("early", step_order=1))
    assert compile_definition(parse_definition(document)).graph.order == ("early", "late")


@pytest.mark.parametrize(
    "steps",
    [[task("a", "a")], [task("a", "b")], [task("a"), task("a")], [task("a", inputs={"x": "${"})]],
)
def test_what_cannot_run_is_not_compiled(steps: list[Any]) -> None:
    with pytest.raises(DefinitionError):
        compile_definition(parse_definition(workflow(*steps)))


small = st.sampled_from(
    ["a", "b", "A", "${n}", "steps.a.x", "${steps.b.x}", "", "task", None, 5, []]
)
step_documents = st.fixed_dictionaries(
    {"name": small, "step_type": st.sampled_from(["task", "approval", "condition", "agent", "x"])},
    optional={
        "depends_on_steps": st.lists(small, max_size=3) | small,
        "condition_expression": small,
        "config": st.dictionaries(st.sampled_from(["task", "inputs", "approval"]), small) | small,
        "step_order": st.integers() | small,
    },
)


@given(st.lists(step_documents | small, max_size=4), small | st.lists(small, max_size=2))
def test_no_document_raises(steps: list[Any], variables: Any) -> None:
    report = validate({"name": "w", "steps": steps, "variables": variables})
    assert report.is_valid == (not report.errors)
    if report.is_valid:
        assert report.definition is not None
        compile_definition(report.definition)
