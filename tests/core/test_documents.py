"""Definitions as text."""

import contextlib
import json
import time
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.core.definitions import definitions
from workflows.core.definition import Limits, parse_definition
from workflows.core.documents import dump_document, load_document
from workflows.core.errors import CanonicalError

text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)

WORKFLOW = """
name: Deploy
steps:
  - name: plan        # a comment
    step_type: task
    config: {task: log, inputs: {text: "${n}"}}
  - name: gate
    step_type: approval
    depends_on_steps: [plan]
    config:
      approval:
        title: Approve
        description: |
          Two lines
          of Markdown
variables:
  - name: n
    data_type: int
"""


def test_yaml_and_json_say_the_same() -> None:
    definition = parse_definition(load_document(WORKFLOW, "yaml"))
    as_json = definition.model_dump_json()
    assert parse_definition(load_document(as_json, "json")) == definition
    assert definition.steps[1].description == ""
    assert definition.steps[1].config.approval.description == "Two lines\nof Markdown\n"  # type: ignore[union-attr]


@given(values)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    assert load_document(yaml.safe_dump(value, allow_unicode=True), "yaml") == value


@given(definitions(), st.sampled_from(["json", "yaml"]))
def test_a_definition_that_is_written_and_read_is_the_same(
    document: dict[str, Any], format: Literal["json", "yaml"]
) -> None:
    read = load_document(dump_document(document, format), format)
    # As texts: true is not 1, 1 is not 1.0, and the keys keep their order.
    assert json.dumps(read) == json.dumps(document)
    published = parse_definition(document).model_dump(mode="json", exclude_none=True)
    again = load_document(dump_document(published, format), format)
    assert parse_definition(again) == parse_definition(document)
    assert parse_definition(again).model_dump(mode="json", exclude_none=True) == published


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("[yes, no, on, off, Y]", ["yes", "no", "on", "off", "Y"]),
        ("[true, false, null, ~, '']", [True, False, None, None, ""]),
        ("[0123, 1_000, 0x1F, 1:30, 2024-01-01]", ["0123", "1_000", "0x1F", "1:30", "2024-01-01"]),
        ("[1, -2, 1.5, 1e3, 9007199254740993]", [1, -2, 1.5, 1000.0, 2**53 + 1]),
        ("['1', \"true\", !!str 5]", ["1", "true", "5"]),
        ("a:\nb: ", {"a": None, "b": None}),
        ("<<: {a: 1}\non: 1", {"<<": {"a": 1}, "on": 1}),
        ("[.nan, .inf, NaN]", [".nan", ".inf", "NaN"]),
        ("'{{7*7}}'", "{{7*7}}"),
    ],
)
def test_yaml_is_another_way_to_write_json(source: str, value: Any) -> None:
    assert load_document(source, "yaml") == value


@pytest.mark.parametrize(
    ("source", "reason", "path"),
    [
        ("a: 1\na: 2", "duplicate_key", "/a"),
        ("x: [0, {b: {c: 1, c: 2}}]", "duplicate_key", "/x/1/b/c"),
        ("a: &x 1\nb: *x", "alias", "/b"),
        ("!!python/object/apply:os.system [ls]", "tag", ""),
        ("a: !!binary aGk=", "tag", "/a"),
        ("{1: 2}", "key_type", ""),
        ("{[1]: 2}", "key_type", ""),
        ("? {a: 1}\n: 2", "key_type", ""),
        ("--- a\n--- b", "not_yaml", None),
        ("", "not_yaml", None),
        ("a: [1", "not_yaml", None),
        ("a: \x00", "not_yaml", None),
        ("a: \ud800", "lone_surrogate", None),
        (b"a: \xff", "not_utf8", None),
        ("a: 1".encode("utf-16"), "not_utf8", None),
        ("\ufeffa: 1", "byte_order_mark", None),
        ("a: 1e400", "number_out_of_range", None),
    ],
)
def test_what_is_no_plain_yaml_is_refused(
    source: str | bytes, reason: str, path: str | None
) -> None:
    with pytest.raises(CanonicalError) as caught:
        load_document(source, "yaml")
    assert (caught.value.code, caught.value.path) == (reason, path)


@pytest.mark.parametrize("format", ["json", "yaml"])
@pytest.mark.parametrize("source", ["[" * 100_000, '{"a":' * 100_000, "[" * 33 + "]" * 33])
def test_depth_is_refused_without_recursion(source: str, format: Literal["json", "yaml"]) -> None:
    start = time.perf_counter()
    with pytest.raises(CanonicalError) as caught:
        load_document(source, format)
    assert caught.value.code == "too_deep"
    assert time.perf_counter() - start < 2


def test_limits_hold_for_texts() -> None:
    with pytest.raises(CanonicalError, match="more than 5 bytes"):
        load_document("a: abc", "yaml", Limits(document_bytes=5))


@given(st.text(alphabet="ab:-[]{}?!&*|>'\"#\n ,~<0.", max_size=30) | st.binary(max_size=20))
def test_no_text_raises_anything_else(source: str | bytes) -> None:
    for format in ("yaml", "json"):
        with contextlib.suppress(CanonicalError):
            load_document(source, format)  # type: ignore[arg-type]
