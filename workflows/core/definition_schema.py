"""The JSON Schema of a definition (Draft 2020-12), for editors that complete and check documents.

It tells the shape of the fields. What they say about one another (references, cycles, …) only
`validation.validate` knows.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from workflows.core.definition import WorkflowDefinition

SCHEMA_ID = "/api/v1/workflows/schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def definition_schema() -> dict[str, Any]:
    """Return the schema; do not change what is returned."""
    schema = _for_editors(WorkflowDefinition.model_json_schema())
    return {"$schema": _DIALECT, "$id": SCHEMA_ID, **schema, "title": "MGX workflow"}


def _for_editors(schema: Any) -> Any:
    """Return a part of pydantic's schema as editors need it: null is the default everywhere, and
    no words but those of JSON Schema."""
    if isinstance(schema, list):
        return [_for_editors(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    # The variants of a union name their type themselves, as constants; `default` is no schema.
    kept = {
        key: value if key == "default" else _for_editors(value)
        for key, value in schema.items()
        if key != "discriminator"
    }
    if schema.get("type") == "object" and "properties" in schema:
        required = schema.get("required", ())
        kept["properties"] = {
            name: _for_editors(field) if name in required else _or_null(_for_editors(field))
            for name, field in schema["properties"].items()
        }
    return kept


def _or_null(field: dict[str, Any]) -> dict[str, Any]:
    if _accepts_null(field):
        return field
    about: dict[str, Any] = {
        key: field[key] for key in ("title", "description", "default") if key in field
    }
    value = {key: part for key, part in field.items() if key not in about}
    return {**about, "anyOf": [value, {"type": "null"}]}


def _accepts_null(field: Mapping[str, Any]) -> bool:
    variants = field.get("anyOf", [field])
    is_anything = not {"$ref", "type", "enum", "const", "oneOf", "anyOf"} & field.keys()
    return is_anything or any(variant.get("type") == "null" for variant in variants)
