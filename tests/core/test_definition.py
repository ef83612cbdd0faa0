"""The fields of a definition: what is accepted, what is refused, and where it says so."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.definition import (
    DEFAULT_LIMITS,
    Limits,
    Variable,
    WorkflowDefinition,
    parse_definition,
    read_fields,
)
from workflows.core.errors import DefinitionError, Problem
from workflows.core.names import fold_name
from workflows.core.steps import STEP_TYPES


def task(name: str = "a", **fields: Any) -> dict[str, Any]:
    return {"name": name, "step_type": "task", "config": {"task": "log"}, **fields}


def workflow(*steps: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "w", "steps": list(steps) or [task()], **fields}


def gate(**approval: Any) -> dict[str, Any]:
    return {"name": "gate", "step_type": "approval", "config": {"approval": approval}}


def refusals(document: Any, limits: Limits = DEFAULT_LIMITS) -> list[Problem]:
    with pytest.raises(DefinitionError) as caught:
        parse_definition(document, limits)
    return caught.value.errors


def refusal(document: Any, limits: Limits = DEFAULT_LIMITS) -> tuple[str, str]:
    (problem,) = refusals(document, limits)
    return problem.error_type, problem.path


def test_everything_has_the_defaults_of_the_contract() -> None:
    definition = parse_definition(workflow(task(), {"name": "gate", "step_type": "approval"}))
    assert (definition.timeout_seconds, definition.max_retries) == (3600, 3)
    assert not definition.config.fail_fast
    step, approval = definition.steps
    assert (step.step_order, approval.step_order) == (1, 2)
    assert (step.trigger_rule, step.timeout_seconds, step.max_retries) == (
        "all_success",
        None,
        None,
    )
    assert definition.retries_of(step) == 3
    assert approval.config.approval.expires_after_seconds == 86_400
    assert approval.config.approval.risk == "medium"


def test_null_is_the_default_everywhere() -> None:
    nothing = dict.fromkeys(("description", "step_order", "timeout_seconds", "trigger_rule"))
    definition = parse_definition(
        workflow(task(**nothing), timeout_seconds=None, variables=None, config=None)
    )
    assert definition == parse_definition(workflow())


def test_null_inside_inputs_and_metadata_stays() -> None:
    step = task(config={"task": "log", "inputs": {"a": None}}, metadata={"b": None})
    definition = parse_definition(workflow(step))
    assert definition.steps[0].config.inputs == {"a": None}
    assert definition.steps[0].metadata == {"b": None}


def test_a_definition_survives_its_own_document() -> None:
    definition = parse_definition(
        workflow(
            task(max_retries=0, config={"task": "log", "retry": {"backoff": "fixed"}}),
            gate(required_approvers=["role:approver"], on_timeout="approve"),
            {"name": "c", "step_type": "condition", "condition_expression": "true"},
            {"name": "d", "step_type": "agent", "agent_instance_id": "x"},
            variables=[{"name": "n", "data_type": "float", "default_value": 1}],
        )
    )
    assert parse_definition(definition.model_dump(mode="json")) == definition
    assert definition.retries_of(definition.steps[0]) == 0


def test_a_definition_cannot_be_changed() -> None:
    definition = parse_definition(workflow())
    with pytest.raises(ValueError, match="frozen"):
        definition.steps[0].name = "b"


def test_the_schema_can_be_told() -> None:
    schema = WorkflowDefinition.model_json_schema()
    assert {"TaskStep", "AgentStep", "ApprovalStep", "ConditionStep"} <= set(schema["$defs"])


@pytest.mark.parametrize("document", [[], [task()], "text", None, 5, True])
def test_only_an_object_is_a_definition(document: Any) -> None:
    assert refusal(document) == ("wrong_type", "")


@pytest.mark.parametrize("seconds", [-1, 0, 1e12, 10**12, 31_536_001, "5", True, 1.5, [], {}])
@pytest.mark.parametrize("place", ["workflow", "step", "expiry", "auto"])
def test_what_is_no_timeout_is_refused(seconds: Any, place: str) -> None:
    documents = {
        "workflow": (workflow(timeout_seconds=seconds), "/timeout_seconds"),
        "step": (workflow(task(timeout_seconds=seconds)), "/steps/0/timeout_seconds"),
        "expiry": (
            workflow(gate(expires_after_seconds=seconds)),
            "/steps/0/config/approval/expires_after_seconds",
        ),
        "auto": (
            workflow(gate(auto_approve_after_seconds=seconds, expires_after_seconds=31_536_000)),
            "/steps/0/config/approval/auto_approve_after_seconds",
        ),
    }
    document, path = documents[place]
    error_type, found = refusal(document)
    assert found == path
    assert error_type in ("wrong_type", "out_of_range")


@pytest.mark.parametrize(
    ("document", "error_type", "path"),
    [
        ({"name": "w", "steps": []}, "too_short", "/steps"),
        ({"name": "w"}, "missing", "/steps"),
        ({"name": "w", "steps": {}}, "wrong_type", "/steps"),
        ({"name": "w", "steps": [5]}, "wrong_type", "/steps/0"),
        (workflow(status="x"), "unknown_field", "/status"),
        (workflow(task(approved_by="x")), "unknown_field", "/steps/0/approved_by"),
        (workflow(gate(quorum=2)), "unknown_field", "/steps/0/config/approval/quorum"),
        (workflow(task(agent_definition_id="x")), "unknown_field", "/steps/0/agent_definition_id"),
        (workflow({"name": "a", "step_type": "magic"}), "unknown_step_type", "/steps/0/step_type"),
        (workflow({"name": "a", "step_type": 5}), "unknown_step_type", "/steps/0/step_type"),
        (workflow({"name": "a"}), "missing", "/steps/0/step_type"),
        (workflow({"name": "a", "step_type": "agent"}), "missing", "/steps/0/agent_definition_id"),
        (workflow({"name": "a", "step_type": "task"}), "missing", "/steps/0/config"),
        (workflow(task(config={})), "missing", "/steps/0/config/task"),
        (
            workflow({"name": "a", "step_type": "condition"}),
            "missing",
            "/steps/0/condition_expression",
        ),
        (workflow(task(max_retries=-1)), "out_of_range", "/steps/0/max_retries"),
        (workflow(task(max_retries=101)), "out_of_range", "/steps/0/max_retries"),
        (workflow(max_retries=True), "wrong_type", "/max_retries"),
        (workflow(task(trigger_rule="often")), "invalid_choice", "/steps/0/trigger_rule"),
        (workflow(task(depends_on_steps="b")), "wrong_type", "/steps/0/depends_on_steps"),
        (workflow(task(depends_on_steps=[1])), "wrong_type", "/steps/0/depends_on_steps/0"),
        (workflow(task(step_order=-1)), "out_of_range", "/steps/0/step_order"),
        (workflow(task(step_order="1")), "wrong_type", "/steps/0/step_order"),
        (workflow(gate(risk="extreme")), "invalid_choice", "/steps/0/config/approval/risk"),
        (
            workflow(gate(required_approvers=["a", ""])),
            "too_short",
            "/steps/0/config/approval/required_approvers/1",
        ),
        (
            workflow(task(config={"task": "log", "retry": {"jitter": 2}})),
            "out_of_range",
            "/steps/0/config/retry/jitter",
        ),
        (workflow(variables=[{"name": "a b"}]), "invalid_name", "/variables/0/name"),
        (workflow(variables=[{"name": "item"}]), "reserved_name", "/variables/0/name"),
        (
            workflow(variables=[{"name": "n", "data_type": "int", "default_value": "5"}]),
            "wrong_type",
            "/variables/0/default_value",
        ),
        (workflow(metadata={"a": "x\0"}), "nul_character", "/metadata/a"),
        (workflow(metadata={"a\0": "x"}), "nul_character", "/metadata"),
        (workflow(metadata={"a": "\ud800"}), "lone_surrogate", "/metadata/a"),
        (workflow(metadata={"a": float("nan")}), "not_a_number", "/metadata/a"),
        (workflow(metadata={1: 1}), "key_type", "/metadata"),
        (workflow(description="x" * 10_001), "too_long", "/description"),
    ],
)
def test_what_is_no_definition_is_refused(document: Any, error_type: str, path: str) -> None:
    assert refusal(document) == (error_type, path)


def test_an_unknown_step_type_is_answered_with_the_known_ones() -> None:
    (problem,) = refusals(workflow({"name": "a", "step_type": "magic"}))
    assert all(step_type in problem.message for step_type in STEP_TYPES)
    assert problem.step_name == "a"


def test_everything_wrong_is_told_at_once() -> None:
    document = workflow(
        task("a", timeout_seconds=0),
        {"name": "b", "step_type": "magic"},
        gate(risk="x", on_reject=5),
        max_retries="3",
        extra=1,
    )
    found = refusals(document)
    assert {problem.path for problem in found} == {
        "/steps/0/timeout_seconds",
        "/steps/1/step_type",
        "/steps/2/config/approval/risk",
        "/steps/2/config/approval/on_reject",
        "/max_retries",
        "/extra",
    }
    assert [problem.step_name for problem in found[:4]] == ["a", "b", "gate", "gate"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\xa0",
        " a",
        "a\n",
        "a\tb",
        "a\x7f",
        "a\u200bb",
        "a\u200db",
        "\u202eabc",
        "a\u2066",
        "a\ufeff",
        "a\u2028b",
        "a\u034fb",
        "a\ufe0fb",
        "a\ufe00",
        "\ufe0f",
        "a\u115fb",
        "a\u17b4b",
        "a\u180bb",
        "a\U000e0100b",
        "\U000e0100",
        "葛\U000e0100\U000e0101",
        "葛\U000e01f0",
        "ア\U000e0100",
        "1\ufe0f\ufe0f",
        "\u3164",
        "\u2800",
        "x" * 201,
        5,
        None,
        ["a"],
    ],
)
def test_names_that_deceive_are_refused(name: Any) -> None:
    for document, path in (
        (workflow(task(name=name)), "/steps/0/name"),
        (workflow() | {"name": name}, "/name"),
    ):
        assert refusal(document)[1] == path


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "x" * 200,
        "its name",
        "Größe 2",
        "計画",
        "a-b.c/d~e",
        "🚀",
        "🛠\ufe0f Build",
        "\u2139\ufe0f info",
        "1\ufe0f\u20e3 plan",
        "#\ufe0f\u20e3",
        "*\ufe0f\u20e3",
        "\u203c\ufe0f stop",
        "\u2049\ufe0f",
        "\u3030\ufe0f",
        "\u303d\ufe0f",
        "\u845b\U000e0100城",
    ],
)
def test_ordinary_names_are_accepted(name: str) -> None:
    assert parse_definition(workflow(task(name=name))).steps[0].name == name


def test_names_that_were_accepted_once_are_still_read() -> None:
    named = {**workflow(task(name="a\u034fb")), "name": "\u3164"}
    assert [problem.path for problem in refusals(named)] == ["/name", "/steps/0/name"]
    stored = read_fields(named)
    assert (stored.name, stored.steps[0].name) == ("\u3164", "a\u034fb")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Plan", "plan"),
        ("caf\u00e9", "cafe\u0301"),
        ("a  b", "a\u00a0b"),
        ("ß", "SS"),
        ("🛠\ufe0f", "🛠"),
        ("1\ufe0f\u20e3 plan", "1\u20e3 plan"),
        ("葛\U000e0100城", "葛城"),
    ],
)
def test_names_that_read_alike_fold_together(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)


@pytest.mark.parametrize(
    ("data_type", "good", "bad"),
    [
        ("string", ["", "x"], [1, True, []]),
        ("int", [0, 2**70], [1.0, "1", True]),
        ("float", [1, 1.5], ["1", False]),
        ("bool", [True, False], [0, 1, "true"]),
        ("json", [0, "x", [], {}, True], []),
    ],
)
def test_variables_accept_their_type_only(data_type: Any, good: list[Any], bad: list[Any]) -> None:
    variable = Variable(name="v", data_type=data_type)
    required = Variable(name="v", data_type=data_type, is_required=True)
    assert all(variable.accepts(value) for value in [*good, None])
    assert not any(variable.accepts(value) for value in bad)
    assert not required.accepts(None)


def test_limits_can_be_raised_and_lowered() -> None:
    two = workflow(task("a"), task("b"))
    assert refusal(two, Limits(steps=1)) == ("too_many_steps", "/steps")
    assert len(parse_definition(two, Limits(steps=2)).steps) == 2
    assert refusal(two, Limits(document_bytes=50))[0] == "too_large"
    assert refusal(workflow(metadata={"a": [[[]]]}), Limits(depth=4))[0] == "too_deep"


def test_5000_steps_are_read_within_a_second() -> None:
    document = workflow(*(task(f"s{i}", depends_on_steps=[f"s{i - 1}"]) for i in range(5_000)))
    start = time.process_time()
    assert len(parse_definition(document).steps) == 5_000
    assert time.process_time() - start < 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "steps", "step_type", "config", "approval", "inputs", "x"])
            | st.text(max_size=3),
            inner | st.sampled_from(STEP_TYPES),
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(json_values)
def test_no_document_raises_anything_else(document: Any) -> None:
    for candidate in (
        document,
        {"name": "w", "steps": document},
        {"name": "w", "steps": [document]},
    ):
        try:
            parse_definition(candidate)
        except DefinitionError as error:
            errors = error.errors
        else:
            continue
        assert errors
        assert all(problem.message and problem.error_type for problem in errors)
