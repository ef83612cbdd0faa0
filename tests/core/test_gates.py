"""What is checked of a gate at save: the steps it goes to, who must approve, and when."""

from typing import Any

import pytest

from workflows.core.definition_schema import definition_schema
from workflows.core.errors import Problem
from workflows.core.validation import Context, validate


def step(name: str, *needs: str, step_type: str = "task", **config: Any) -> dict[str, Any]:
    config = {"task": "log", **config} if step_type == "task" else config
    return {
        "name": name,
        "step_type": step_type,
        "depends_on_steps": list(needs),
        "config": config,
    }


def found(context: Context | None = None, **approval: Any) -> list[tuple[str, str]]:
    """Return (type, path within the gate's approval) of every error of a gate between steps."""
    steps = [
        step("far"),
        step("work", "far"),
        step("gate", "work", step_type="approval", approval=approval),
        step("behind", "gate"),
        step("beside", "far"),
        step("block", step_type="parallel", steps=[step("inner")]),
    ]
    report = validate({"name": "w", "steps": steps}, context or Context())
    prefix = "/steps/2/config/approval/"
    assert all(problem.step_name == "gate" for problem in report.errors)
    return [(p.error_type, p.path.removeprefix(prefix)) for p in report.errors]


@pytest.mark.parametrize(
    "approval",
    [
        {"on_reject": "behind", "on_timeout": "behind"},
        {"on_reject": "continue", "on_timeout": "approve"},
        {"on_timeout": "escalate", "escalate_to": ["role:admin"]},
        {"escalate_after_seconds": 60, "escalate_to": ["anna"], "reminders": [60, 120]},
        {"revise": "far", "max_revisions": 0},
        {"required_approvers": ["a", "b"], "min_approvals": 2},
        {"required_approvers": ["a", "b"], "min_approvals": "all"},
        {"required_approvers": ["group:g"], "min_approvals": 7},
        {"min_approvals": 2},
        {"policy": {"all_of": ["group:g", "group:g", {"n_of": 2, "of": ["a", "b", "c"]}]}},
        {"policy": {"any_of": ["a", {"all_of": ["a", "b"]}]}},
        {"form_schema": {"type": "object"}},
    ],
)
def test_these_gates_can_be_saved(approval: dict[str, Any]) -> None:
    assert found(**approval) == []


@pytest.mark.parametrize(
    ("approval", "error_type", "path"),
    [
        ({"on_reject": "nowhere"}, "unknown_branch_step", "on_reject"),
        ({"on_timeout": "beside"}, "unknown_branch_step", "on_timeout"),
        ({"on_reject": "work"}, "unknown_branch_step", "on_reject"),
        ({"on_reject": "approve"}, "invalid_choice", "on_reject"),
        ({"revise": "nowhere"}, "unknown_step", "revise"),
        ({"revise": "behind"}, "not_an_ancestor", "revise"),
        ({"revise": "gate"}, "not_an_ancestor", "revise"),
        ({"revise": "beside"}, "not_an_ancestor", "revise"),
        ({"revise": "inner"}, "not_an_ancestor", "revise"),
        (
            {"required_approvers": ["a", "b"], "min_approvals": 3},
            "quorum_exceeds_approvers",
            "min_approvals",
        ),
        (
            {"required_approvers": ["a", "a"], "min_approvals": 2},
            "quorum_exceeds_approvers",
            "min_approvals",
        ),
        ({"min_approvals": "all"}, "quorum_exceeds_approvers", "min_approvals"),
        (
            {"policy": {"any_of": ["c", {"n_of": 2, "of": ["a", "a", "a"]}]}},
            "quorum_exceeds_approvers",
            "policy/any_of/1/n_of",
        ),
        ({"policy": {"all_of": ["a", "a"]}}, "quorum_exceeds_approvers", "policy/all_of"),
        (
            {"policy": {"all_of": ["a", {"all_of": ["a", "b"]}]}},
            "quorum_exceeds_approvers",
            "policy",
        ),
        ({"policy": {"n_of": 3, "of": ["a", "b"]}}, "quorum_exceeds_approvers", "policy/n_of"),
        ({"escalate_after_seconds": 60}, "missing", "escalate_to"),
        ({"on_timeout": "escalate"}, "missing", "escalate_to"),
        ({"escalate_to": ["a"]}, "not_supported", "escalate_to"),
        (
            {"expires_after_seconds": 60, "escalate_after_seconds": 60, "escalate_to": ["a"]},
            "escalation_after_expiry",
            "escalate_after_seconds",
        ),
        (
            {"expires_after_seconds": 60, "reminders": [30, 60]},
            "reminder_after_expiry",
            "reminders/1",
        ),
        ({"min_approvals": 0}, "out_of_range", "min_approvals"),
        ({"min_approvals": "most"}, "invalid_choice", "min_approvals"),
        ({"min_approvals": 1.5}, "wrong_type", "min_approvals"),
        ({"policy": {"all_of": [""]}}, "too_short", "policy/all_of/0"),
        ({"policy": {"all_of": ["a"]}, "min_approvals": 2}, "invalid_choice", "policy"),
        ({"policy": {"n_of": 2, "of": ["group:g"]}}, "quorum_exceeds_approvers", "policy/n_of"),
        ({"max_revisions": -1}, "out_of_range", "max_revisions"),
        *(
            (
                {"auto_approve_after_seconds": auto, "expires_after_seconds": expiry},
                "auto_approve_after_expiry",
                "auto_approve_after_seconds",
            )
            for auto, expiry in ((3_600, 3_600), (3_601, 3_600), (86_400, None))
        ),
    ],
)
def test_these_gates_are_refused_where_they_are_wrong(
    approval: dict[str, Any], error_type: str, path: str
) -> None:
    assert found(**approval) == [(error_type, path)]


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "on_reject": "nowhere",
        "revise": "behind",
        "required_approvers": ["a"],
        "min_approvals": 2,
        "reminders": [60],
        "expires_after_seconds": 60,
        "escalate_to": ["b"],
    }
    paths = {path for _, path in found(**wrong)}
    assert paths == {"on_reject", "revise", "min_approvals", "reminders/0", "escalate_to"}


def test_a_field_that_cannot_be_read_hides_nothing_that_is_not_about_it() -> None:
    context = Context(known_approvers=lambda names: {"anna"})
    wrong = {
        "required_approvers": ["anna", "ghost"],
        "min_approvals": 0,
        "auto_approve_after_seconds": 10,
        "expires_after_seconds": 5,
        "escalate_after_seconds": 9,
        "escalate_to": [""],
        "on_reject": "nowhere",
    }
    assert found(context, **wrong) == [
        ("out_of_range", "min_approvals"),
        ("too_short", "escalate_to/0"),
        ("unknown_approver", "required_approvers/1"),
        ("unknown_branch_step", "on_reject"),
        ("auto_approve_after_expiry", "auto_approve_after_seconds"),
        ("escalation_after_expiry", "escalate_after_seconds"),
    ]


@pytest.mark.parametrize(
    ("approval", "only"),
    [
        ({"expires_after_seconds": 0, "reminders": [90_000]}, "expires_after_seconds"),
        ({"required_approvers": "anna", "min_approvals": "all"}, "required_approvers"),
        ({"on_timeout": 5, "escalate_to": ["anna"]}, "on_timeout"),
        ({"policy": {"all_off": ["anna"]}}, "policy/all_off"),
    ],
)
def test_what_only_follows_from_a_field_that_cannot_be_read_is_not_told(
    approval: dict[str, Any], only: str
) -> None:
    assert [path for _, path in found(**approval)] == [only]


def test_whoever_is_named_anywhere_must_be_known() -> None:
    context = Context(known_approvers=lambda names: {"anna"})
    policy = {"all_of": ["anna", {"any_of": ["bob"]}]}
    assert found(context, policy=policy) == [("unknown_approver", "policy/all_of/1/any_of/0")]
    later = {"escalate_after_seconds": 5, "escalate_to": ["anna", "carl"]}
    assert found(context, **later) == [("unknown_approver", "escalate_to/1")]


def test_a_form_is_checked_by_who_knows_forms() -> None:
    def problems(schema: Any) -> list[Problem]:
        return [Problem("", "invalid_schema", f"No {schema}", "/type")]

    context = Context(form_problems=problems)
    assert found(context, form_schema={"type": "x"}) == [("invalid_schema", "form_schema/type")]


@pytest.mark.parametrize(
    ("approval", "path"),
    [
        ({"on_timeout": "approve"}, "on_timeout"),
        ({"auto_approve_after_seconds": 60}, "auto_approve_after_seconds"),
    ],
)
def test_where_it_is_forbidden_no_gate_with_approvers_approves_itself(
    approval: dict[str, Any], path: str
) -> None:
    context = Context(allows_auto_approval=False)
    assert found(context, required_approvers=["a"], **approval) == [
        ("auto_approve_forbidden", path)
    ]
    assert found(context, **approval) == []


def test_a_gate_is_told_that_its_timeout_has_no_effect() -> None:
    gate = step("gate", step_type="approval", approval={"expires_after_seconds": 60})
    report = validate({"name": "w", "steps": [gate | {"timeout_seconds": 5}]})
    assert report.is_valid
    [warning] = report.warnings
    assert (warning.error_type, warning.path) == ("no_effect", "/steps/0/timeout_seconds")
    assert "60 s" in warning.message
    assert not validate({"name": "w", "steps": [gate]}).warnings


def test_a_gate_in_a_block_sends_back_what_stands_beside_it() -> None:
    def errors(revise: str) -> list[tuple[str, str]]:
        gate = step("gate", "inner", step_type="approval", approval={"revise": revise})
        block = step("block", "work", step_type="parallel", steps=[step("inner"), gate])
        report = validate({"name": "w", "steps": [step("work"), block]})
        return [(problem.error_type, problem.path) for problem in report.errors]

    assert errors("inner") == []
    assert errors("work") == [("not_an_ancestor", "/steps/1/config/steps/1/config/approval/revise")]


def test_the_schema_for_editors_knows_all_of_it() -> None:
    schema = definition_schema()
    fields = schema["$defs"]["Approval"]["properties"]
    assert {"policy", "form_schema", "revise", "max_revisions", "escalate_to"} <= fields.keys()
    assert "Policy" in schema["$defs"]
