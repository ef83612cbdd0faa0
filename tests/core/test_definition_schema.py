"""The JSON Schema of definitions: it accepts what the product accepts."""

import json
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from mgx.demo import EXAMPLE
from tests.conftest import EXAMPLE_DEFINITION
from tests.core.definitions import definitions
from workflows.core.definition import parse_definition
from workflows.core.definition_schema import definition_schema
from workflows.core.steps import STEP_TYPES

SCHEMA = Draft202012Validator(definition_schema())
TASK = {"name": "a", "step_type": "task", "config": {"task": "log"}}


def workflow(*steps: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "w", "steps": list(steps) or [TASK], **fields}


def test_it_is_a_schema_of_its_dialect_and_names_no_host() -> None:
    schema = definition_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "/api/v1/workflows/schema.json"
    assert "discriminator" not in json.dumps(schema)


@pytest.mark.parametrize("step_type", STEP_TYPES)
def test_it_knows_every_step_type(step_type: str) -> None:
    types = [d["properties"].get("step_type", {}) for d in definition_schema()["$defs"].values()]
    assert {"const": step_type} in [{"const": each.get("const")} for each in types]


@pytest.mark.parametrize("document", [EXAMPLE_DEFINITION, EXAMPLE])
def test_it_accepts_the_examples(document: dict[str, Any]) -> None:
    SCHEMA.validate(document)


@given(definitions())
def test_it_accepts_whatever_is_accepted(document: dict[str, Any]) -> None:
    parsed = parse_definition(document)
    SCHEMA.validate(document)
    SCHEMA.validate(parsed.model_dump(mode="json"))
    SCHEMA.validate(parsed.model_dump(mode="json", exclude_none=True))


@pytest.mark.parametrize("at", [(), ("config",), ("config", "retry")])
def test_null_is_the_default_of_whatever_may_be_left_out(at: tuple[str, ...]) -> None:
    document = parse_definition(workflow()).model_dump(mode="json")
    part = document["steps"][0]
    for key in at:
        part = part[key]
    for key in part:
        if key not in ("name", "step_type", "config", "task"):
            part[key] = None
    SCHEMA.validate(document)
    assert parse_definition(document) == parse_definition(workflow())


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "w"},
        {"name": None, "steps": [TASK]},
        workflow(TASK | {"step_type": "quantum"}),
        workflow(TASK | {"step_type": None}),
        workflow(TASK | {"timeout": 5}),
        workflow(TASK | {"timeout_seconds": 0}),
        workflow(TASK | {"timeout_seconds": "5"}),
        workflow(TASK | {"config": {}}),
        workflow({"name": "b", "step_type": "parallel", "config": {"steps": [{"name": "c"}]}}),
        workflow(variables=[{"name": "not a name"}]),
    ],
)
def test_it_refuses_what_has_another_shape(wrong: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(wrong)
