"""Forms: which schemas can be one, what is wrong with an answer, and what an answer edits."""

import time
from typing import Any

import pytest

from approvals.forms import check_response, check_schema, edit_payload, fields_of
from workflows.errors import InvalidInput

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "window": {"type": "string", "format": "date", "title": "Deploy on"},
        "replicas": {"type": "integer", "minimum": 1, "x-edits": "/plan/replicas"},
        "first": {"type": "string", "x-edits": "/plan/steps/0"},
        "ticket": {"type": "string", "pattern": "^OPS-[0-9]+$"},
    },
    "required": ["ticket"],
    "additionalProperties": False,
}
PAYLOAD = {"plan": {"replicas": 2, "steps": ["drain", "deploy"]}}


def paths(problems: Any) -> dict[str, str]:
    return {problem.path: problem.error_type for problem in problems}


def form(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_a_form_is_a_schema_of_an_object() -> None:
    assert check_schema(FORM) == []
    assert check_schema({}) == []
    for schema in ([], "x", None, {"type": "array"}):
        assert paths(check_schema(schema)) == {"": "invalid_schema"}


@pytest.mark.parametrize(
    ("schema", "path", "code"),
    [
        (form(a={"type": "strin"}), "/properties/a/type", "invalid_schema"),
        (form(a={"pattern": "(?=x)y"}), "/properties/a/pattern", "invalid_schema"),
        (form(a={"pattern": "(a"}), "/properties/a/pattern", "invalid_schema"),
        (form(a={"$ref": "https://example.org/x"}), "/properties/a/$ref", "invalid_schema"),
        (form(a={"$ref": "#/$defs/none"}), "/properties/a/$ref", "invalid_schema"),
        (form(a={"$ref": "#/properties/a"}), "/properties/a/$ref", "invalid_schema"),
        (form(a={"x-edits": "plan"}), "/properties/a/x-edits", "invalid_pointer"),
        (
            form(a={"x-edits": "/p"}, b={"x-edits": "/p/q"}),
            "/properties/b/x-edits",
            "duplicate_edit",
        ),
        (form(a={"default": "a\0b"}), "/properties/a/default", "nul_character"),
    ],
)
def test_what_cannot_be_a_form_is_refused_with_its_place(schema: Any, path: str, code: str) -> None:
    assert paths(check_schema(schema)) == {path: code}


def test_references_that_multiply_are_refused() -> None:
    parts = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    schema = {**form(x={"$ref": "#/$defs/a0"}), "$defs": {**parts, "a40": {}}}
    begun = time.process_time()
    assert paths(check_schema(schema)) == {"": "too_large"}
    assert time.process_time() - begun < 1


def test_a_pattern_takes_linear_time() -> None:
    schema = form(a={"pattern": "^(a+)+$"})
    assert check_schema(schema) == []
    begun = time.process_time()
    assert paths(check_response(schema, {"a": "a" * 5_000 + "!"})) == {"/a": "invalid_response"}
    assert time.process_time() - begun < 1


def test_everything_wrong_with_an_answer_is_told_with_its_place() -> None:
    answer = {"window": "2026-13-01", "replicas": 0, "other": 1}
    assert paths(check_response(FORM, answer)) == {
        "/window": "invalid_response",
        "/replicas": "invalid_response",
        "/ticket": "required",
        "/other": "unknown_field",
    }
    assert check_response(FORM, {"ticket": "OPS-1", "window": "2026-12-01"}) == []
    assert paths(check_response(FORM, [])) == {"": "invalid_response"}


def test_an_answer_edits_what_its_fields_name_and_nothing_else() -> None:
    edited = edit_payload(FORM, PAYLOAD, {"replicas": 5, "first": "warn", "ticket": "OPS-1"})
    assert edited == {"plan": {"replicas": 5, "steps": ["warn", "deploy"]}}
    assert PAYLOAD == {"plan": {"replicas": 2, "steps": ["drain", "deploy"]}}
    assert edit_payload(FORM, PAYLOAD, {"ticket": "OPS-1"}) is PAYLOAD


@pytest.mark.parametrize("payload", [{}, {"plan": []}, {"plan": {"steps": []}}, "text"])
def test_what_is_not_there_cannot_be_edited(payload: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        edit_payload(FORM, payload, {"first": "warn"})
    assert paths(refusal.value.problems) == {"/first": "unknown_place"}


def test_fields_are_shown_by_what_they_hold() -> None:
    schema = {
        **FORM,
        "properties": {
            **FORM["properties"],
            "note": {"type": ["string", "null"], "maxLength": 5_000, "description": "Why"},
            "speed": {"enum": ["slow", "fast"], "default": "slow"},
            "sure": {"type": "boolean"},
            "share": {"type": "number"},
            "more": {"type": "object"},
            "kind": {"$ref": "#/$defs/kind"},
        },
        "$defs": {"kind": {"oneOf": [{"const": 1, "title": "One"}, {"const": 2}]}},
    }
    fields = {field.name: field for field in fields_of(schema, PAYLOAD)}
    assert {name: field.kind for name, field in fields.items()} == {
        "window": "date",
        "replicas": "integer",
        "first": "text",
        "ticket": "text",
        "note": "lines",
        "speed": "choice",
        "sure": "boolean",
        "share": "number",
        "more": "json",
        "kind": "choice",
    }
    assert (fields["replicas"].value, fields["first"].value) == (2, "drain")
    assert (fields["speed"].value, fields["speed"].choices) == ("slow", ("slow", "fast"))
    assert fields["kind"].choices == (1, 2)
    assert (fields["window"].label, fields["replicas"].label) == ("Deploy on", "Replicas")
    assert [name for name, field in fields.items() if field.is_required] == ["ticket"]
