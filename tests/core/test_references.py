"""References in the values of a definition."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.canonical import dumps_canonical
from workflows.core.errors import ExpressionError, UnstorableError
from workflows.core.references import compile_value, resolve
from workflows.core.scope import Names, Scope

NAMES = Names(
    variables=frozenset(("n", "text", "data", "type", "secret")),
    steps=frozenset(("plan", "its name", "own", "list", "empty", "größe")),
    all_steps=frozenset(("plan", "its name", "own", "list", "empty", "größe", "later")),
)
SCOPE = Scope(
    variables={
        "n": 5,
        "text": "${secret} {{7*7}}",
        "data": {"k": [1, {"x": "y"}], "none": None, "a b": 1},
        "type": "t",
        "secret": "s3cret",
    },
    steps={
        "plan": {"title": "T", "cost": 1.5},
        "its name": {"key": "value"},
        "own": {"result": "mine", "other": 1},
        "list": [1, 2],
        "größe": 3,
    },
    execution={"id": "e-1", "started_by": "anna"},
    revision={"number": 1, "feedback": None},
)


def value_of(value: Any) -> Any:
    return compile_value(value, NAMES).resolve(SCOPE)


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("${n}", 5),
        ("${ n }", 5),
        ("${variables.n}", 5),
        ("${variables['n']}", 5),
        ("${data}", SCOPE.variables["data"]),
        ("${data.k[1].x}", "y"),
        ("${data['a b']}", 1),
        ("${data.none}", None),
        ("${type}", "t"),
        ("${execution.id}", "e-1"),
        ("${execution.started_by}", "anna"),
        ("${revision.number}", 1),
        ("${revision.feedback}", None),
        ("${n + 1}", 6),
        ("${n > 4}", True),
        ("${ {'a': '}'} }", {"a": "}"}),
        ("${true}", True),
        ("${'x'}", "x"),
    ],
)
def test_a_text_that_is_one_reference_keeps_the_type(value: str, resolved: Any) -> None:
    assert value_of(value) == resolved
    assert type(value_of(value)) is type(resolved)


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("${steps.plan.result}", {"title": "T", "cost": 1.5}),
        ("${steps.plan.result.title}", "T"),
        ("${steps.plan.title}", "T"),
        ("${steps.own.result}", "mine"),
        ("${steps.own.other}", 1),
        ("${steps.list.result}", [1, 2]),
        ("${steps.list.result[1]}", 2),
        ("${steps.list[0]}", 1),
        ("${steps['its name'].key}", "value"),
        ('${steps["its name"].result.key}', "value"),
        ("${steps.größe.result}", 3),
        ("${steps.plan}", {"result": {"title": "T", "cost": 1.5}, "title": "T", "cost": 1.5}),
        ("${steps.own}", {"result": "mine", "other": 1}),
        ("steps.plan.result", {"title": "T", "cost": 1.5}),
        ("steps.plan.title", "T"),
        ("steps['its name'].key", "value"),
        ("steps.own.result", "mine"),
    ],
)
def test_a_step_is_a_record_with_its_result(value: str, resolved: Any) -> None:
    assert value_of(value) == resolved


@pytest.mark.parametrize(
    "expression", ["steps.own.result == 'mine'", "steps.plan.result.cost > 1.0"]
)
def test_expressions_see_the_same_records(expression: str) -> None:
    assert value_of(f"${{{expression}}}") is True


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("n is ${n}.", "n is 5."),
        ("${n}${n}", "55"),
        (" ${n}", " 5"),
        ("${data.k} ${data.none} ${n > 1}", '[1,{"x":"y"}] null true'),
        ("${steps.plan.title}: ${steps.plan.cost}", "T: 1.5"),
        ("${'}'} ${\"}\"}", "} }"),
        ("${text}!", "${secret} {{7*7}}!"),
        ("über ${n} ${'ä'}", "über 5 ä"),
    ],
)
def test_inside_a_longer_text_references_are_interpolated(value: str, resolved: str) -> None:
    assert value_of(value) == resolved


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("$${n}", "${n}"),
        ("$${n} ${n}", "${n} 5"),
        ("$$${n}", "$${n}"),
        ("$${", "${"),
        ("{{7*7}}", "{{7*7}}"),
        ("%s %(n)s", "%s %(n)s"),
        ("{0.__class__} {n}", "{0.__class__} {n}"),
        ("$n $", "$n $"),
        ("}", "}"),
        ("", ""),
        ("steps and stairs", "steps and stairs"),
        ("steps.", "steps."),
        ("the steps.plan.title", "the steps.plan.title"),
        ("steps.plan.title!", "steps.plan.title!"),
        ("steps.plan.title + 'x'", "steps.plan.title + 'x'"),
    ],
)
def test_what_is_no_reference_is_text(value: str, resolved: str) -> None:
    assert value_of(value) == resolved


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert value_of({"a": "${text}", "b": ["x ${text}"]}) == {
        "a": "${secret} {{7*7}}",
        "b": ["x ${secret} {{7*7}}"],
    }


hostile = st.sampled_from(["${secret}", "$${n}", "steps.plan.title", "{{1}}", "%s"]) | st.text()


@given(hostile, st.sampled_from(["${text}", "a ${text} b", "${text}${text}", "${text + ''}"]))
def test_no_value_is_ever_expanded(inserted: str, template: str) -> None:
    try:
        dumps_canonical(inserted)
    except UnstorableError:
        return  # no run holds such a text (NUL, a lone surrogate)
    scope = Scope(variables={"text": inserted, "secret": "s3cret"})
    expected = template.replace("${text + ''}", "${text}").replace("${text}", inserted)
    assert compile_value(template, NAMES).resolve(scope) == expected


def test_a_text_to_be_shown_stays_a_text() -> None:
    for value, text in (("${data.k}", '[1,{"x":"y"}]'), ("${data.none}", "null"), ("x", "x")):
        assert compile_value(value, NAMES, as_text=True).resolve(SCOPE) == text


def test_nested_values_are_resolved_and_keys_are_not() -> None:
    value = {"${n}": ["${n}", {"deep": ("${n}", 1, None, True)}], "plain": 1.5}
    assert value_of(value) == {"${n}": [5, {"deep": [5, 1, None, True]}], "plain": 1.5}


def test_the_definition_is_not_shared_with_who_gets_the_value() -> None:
    compiled = compile_value({"list": [1], "map": {}}, NAMES)
    first = resolve(compiled, SCOPE)
    first["list"].append(2)
    first["map"]["x"] = 1
    assert resolve(compiled, SCOPE) == {"list": [1], "map": {}}


def test_a_value_tells_what_it_uses() -> None:
    compiled = compile_value(
        {"a": "${n} ${steps.plan.x}", "b": ["steps.list.result", "${variables.text + text}"]},
        NAMES,
    )
    assert compiled.steps == {"plan", "list"}
    assert compiled.variables == {"n", "text"}


@pytest.mark.parametrize(
    "value",
    [
        "${steps.plan.nope}",
        "${steps.plan.result.nope}",
        "${steps.plan.title.x}",
        "${steps.list.nope}",
        "${steps.list.result[2]}",
        "${steps.list.result.x}",
        "${steps.plan[0]}",
        "${steps.empty.result}",
        "steps.empty.result",
        "${data.k.x}",
        "${data.none.x}",
        "${n.__class__}",
        "${n.real}",
        "${data.items}",
        "${text[0]}",
        "x ${n + 'a'}",
    ],
)
def test_a_missing_key_or_wrong_type_is_an_error_and_never_null(value: str) -> None:
    compiled = compile_value(value, NAMES)
    with pytest.raises(ExpressionError) as caught:
        compiled.resolve(SCOPE)
    assert caught.value.code == "expression_error"


def test_a_variable_without_value_is_an_error() -> None:
    for value in ("${n}", "${variables.n}", "${n + 1}", "${item}"):
        with pytest.raises(ExpressionError):
            compile_value(value, Names(frozenset("n"), has_item=True)).resolve(Scope())


@pytest.mark.parametrize(
    ("value", "reason", "position"),
    [
        ("${nope}", "undeclared_variable", 2),
        ("text ${ nope }", "undeclared_variable", 8),
        ("${n} ${nope.x + 1}", "undeclared_variable", 7),
        ("${variables.nope}", "undeclared_variable", 2),
        ("${steps.nope.x}", "unknown_step", 2),
        ("${steps['no step'].x}", "unknown_step", 2),
        ("a ${n} ${steps.later.x}", "not_an_ancestor", 9),
        ("steps.later.result", "not_an_ancestor", 0),
        ("${steps}", "expression_error", 2),
        ("${execution.secret}", "unknown_field", 2),
        ("${item}", "unknown_field", 2),
        ("${index}", "unknown_field", 2),
        ("${", "expression_error", 0),
        ("a ${n", "expression_error", 2),
        ("${'}", "expression_error", 0),
        ("${}", "expression_error", 2),
        ("${ }", "expression_error", 2),
        ("${().__class__}", "expression_error", 3),
        ("${n.size(}", "expression_error", None),
        ("${" + "-" * 100_000 + "1}", "expression_error", None),
    ],
)
def test_references_to_nothing_are_refused_with_their_place(
    value: str, reason: str, position: int | None
) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_value(value, NAMES)
    assert caught.value.reason == reason
    if position is not None:
        assert caught.value.position == position


def test_all_errors_can_be_collected_with_their_paths() -> None:
    compiled = compile_value({"a": ["${nope}", "${n}"], "b": {"c/d": "${"}}, NAMES, collect=True)
    assert [(finding.path, finding.error.reason) for finding in compiled.errors] == [
        (("a", 0), "undeclared_variable"),
        (("b", "c/d"), "expression_error"),
    ]


@pytest.mark.parametrize("value", ["steps.nope.result", "steps.pland", "steps[0].x"])
def test_what_looks_like_a_reference_is_doubted(value: str) -> None:
    compiled = compile_value({"x": value}, NAMES)
    assert compiled.resolve(SCOPE) == {"x": value}
    assert [finding.path for finding in compiled.doubts] == [("x",)]


def test_items_and_indexes_are_named_in_mapped_blocks() -> None:
    compiled = compile_value("${item.id}-${index}", Names(has_item=True))
    assert compiled.resolve(Scope(item={"id": "a"}, index=3)) == "a-3"


def test_interpolated_texts_are_bounded() -> None:
    compiled = compile_value("${text}" * 20 + "!", NAMES)
    with pytest.raises(ExpressionError, match="longer than"):
        compiled.resolve(Scope(variables={"text": "x" * 100_000}))


@pytest.mark.parametrize(
    "value",
    ["${'" + "\\'" * 300_000, "${" + "'\\'" * 100_000, '${"""\\' * 100_000, "${" * 200_000],
    ids=["escapes", "quotes", "triple", "openings"],
)
def test_hostile_texts_are_read_in_linear_time(value: str) -> None:
    start = time.process_time()
    with pytest.raises(ExpressionError):
        compile_value(value, NAMES)
    assert time.process_time() - start < 2


def test_plain_references_are_looked_up_without_an_expression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("This needs no expression")

    monkeypatch.setattr("workflows.core.references.compile_expression", refuse)
    assert compile_value("${data['a b']}", NAMES).resolve(SCOPE) == 1


def nested_values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )


@given(
    nested_values(st.text(alphabet="${}ns.tep'\"[]l ait+1\\", max_size=20) | st.text() | st.none())
)
def test_no_value_raises_anything_else(value: Any) -> None:
    try:
        compile_value(value, NAMES).resolve(SCOPE)
    except ExpressionError as error:
        message = error.message
    else:
        return
    assert message


@given(nested_values(st.text(alphabet="abc{}%. ") | st.integers() | st.booleans() | st.none()))
def test_values_without_references_stay_as_they_are(value: Any) -> None:
    assert value_of(value) == value
