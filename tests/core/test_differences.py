"""What differs between two definitions."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.differences import LONGEST_VALUE, MOST_CHANGES, Change, differences, walk


def task(name: str, *after: str, **config: Any) -> dict[str, Any]:
    config = {"task": "log", **config}
    return {"name": name, "step_type": "task", "depends_on_steps": list(after), "config": config}


def block(name: str, *steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"name": name, "step_type": "parallel", "config": {"steps": list(steps), **config}}


def workflow(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "w", "steps": list(steps), **fields}


BASE = workflow(task("a"), block("fan", task("b"), task("c", "b")), task("d", "fan"))


def told(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(c.kind, c.step_name, c.path, c.before, c.after) for c in differences(before, after)]


def changed(change: Callable[[dict[str, Any]], Any]) -> list[tuple[Any, ...]]:
    after = copy.deepcopy(BASE)
    change(after)
    return told(BASE, after)


def test_a_field_is_told_with_its_step_and_both_values() -> None:
    def change(document: dict[str, Any]) -> None:
        document["steps"][0]["timeout_seconds"] = 5
        document["steps"][2]["config"]["inputs"] = {"x": [{"y": 1}]}
        document["description"] = "New"

    assert changed(change) == [
        ("changed", "", ("description",), "", "New"),
        ("added", "a", ("timeout_seconds",), None, 5),
        ("added", "d", ("config", "inputs", "x"), None, [{"y": 1}]),
    ]


def test_nested_steps_are_told_by_their_own_names() -> None:
    def change(document: dict[str, Any]) -> None:
        document["steps"][1]["config"]["max_concurrency"] = 2
        document["steps"][1]["config"]["steps"][1]["config"]["task"] = "fail"

    assert changed(change) == [
        ("added", "fan", ("config", "max_concurrency"), None, 2),
        ("changed", "c", ("config", "task"), "log", "fail"),
    ]


def test_a_step_that_is_new_or_gone_is_one_change() -> None:
    found = changed(lambda document: document["steps"].append(task("e", "a")))
    assert [change[:3] for change in found] == [("added", "e", ())]
    assert found[0][4]["config"]["task"] == "log"
    found = changed(lambda document: document["steps"][1]["config"]["steps"].pop())
    assert [change[:3] for change in found] == [("removed", "c", ())]


def test_a_block_that_is_new_does_not_repeat_its_steps() -> None:
    new = block("more", task("x"))
    found = changed(lambda document: document["steps"].append(new))
    assert [change[:2] for change in found] == [("added", "more"), ("added", "x")]
    assert "steps" not in found[0][4]["config"]


def test_another_name_is_another_step() -> None:
    def change(document: dict[str, Any]) -> None:
        document["steps"][0]["name"] = "z"

    assert [c[:2] for c in changed(change)] == [("added", "z"), ("removed", "a")]


def test_a_step_in_another_block_has_moved() -> None:
    def change(document: dict[str, Any]) -> None:
        document["steps"].append(document["steps"][1]["config"]["steps"].pop(0))
        document["steps"][1]["config"]["steps"][0]["depends_on_steps"] = []

    assert changed(change) == [
        ("changed", "c", ("depends_on_steps",), ["b"], []),
        ("moved", "b", (), {"block": "fan", "after": ""}, {"block": "", "after": "d"}),
    ]


@pytest.mark.parametrize(
    ("order", "moved"),
    [("abcde", ""), ("bacde", "a"), ("bcdea", "a"), ("eabcd", "e"), ("acbed", "bd"), ("edcba", 4)],
)
def test_the_fewest_steps_have_moved(order: str, moved: str | int) -> None:
    before = workflow(*map(task, "abcde"))
    found = differences(before, workflow(*map(task, order)))
    assert {change.kind for change in found} <= {"moved"}
    assert len(found) == (moved if isinstance(moved, int) else len(moved))


def test_a_step_in_between_moves_no_other() -> None:
    found = changed(lambda document: document["steps"].insert(0, task("first")))
    assert [change[:2] for change in found] == [("added", "first")]


def test_variables_stand_under_their_names() -> None:
    before = workflow(task("a"), variables=[{"name": "x"}, {"name": "y"}])
    after = workflow(task("a"), variables=[{"name": "y", "is_required": True}])
    assert [c[:3] for c in told(before, after)] == [
        ("removed", "", ("variables", "x")),
        ("changed", "", ("variables", "y", "is_required")),
    ]


def test_defaults_make_no_difference() -> None:
    spelled_out = {**BASE, "timeout_seconds": 3_600, "max_retries": None, "variables": []}
    assert differences(BASE, spelled_out) == []


def test_what_cannot_be_read_is_compared_as_it_is() -> None:
    unreadable = workflow({"name": "a", "step_type": "quantum", "config": {"q": 1}})
    other = copy.deepcopy(unreadable)
    other["steps"][0]["config"]["q"] = 2
    assert told(unreadable, other) == [("changed", "a", ("config", "q"), 1, 2)]


def test_values_and_changes_are_bounded() -> None:
    long = workflow(task("a", inputs={"text": "x" * 100_000, "list": [1] * 100_000}))
    for change in differences(workflow(task("a")), long):
        shown = change.bounded().after
        assert isinstance(shown, str)
        assert len(shown) == LONGEST_VALUE + 1
    many = workflow(*[task(f"s{number}") for number in range(MOST_CHANGES + 1)])
    assert len(differences(workflow(task("a")), many)) == MOST_CHANGES


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("x" * 2_500 + " never", "x" * 2_500 + " always", ("never", "always")),
        ("x" * 2_500, "x" * 2_500 + " always", ("x", "x always")),
        ([7] * 1_500 + [8], [7] * 1_500 + [9], ("8]", "9]")),
        ("short", "x" * 2_500, ("short", "xxx…")),
    ],
)
def test_long_values_are_cut_around_what_differs(
    before: Any, after: Any, shown: tuple[str, str]
) -> None:
    (change,) = differences(
        workflow(task("a", inputs={"x": before})), workflow(task("a", inputs={"x": after}))
    )
    assert (change.before, change.after) == (before, after)
    bounded = change.bounded()
    assert bounded.before.endswith(shown[0])
    assert bounded.after.endswith(shown[1])
    assert bounded.before != bounded.after
    assert max(len(bounded.before), len(bounded.after)) <= LONGEST_VALUE + 2


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 1) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner),
    max_leaves=8,
)


@given(values)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert list(walk(value, copy.deepcopy(value))) == []


@given(values, values)
def test_what_differs_is_found_both_ways(before: Any, after: Any) -> None:
    there = [(path, old, new) for path, old, new in walk(before, after)]
    back = [(path, new, old) for path, old, new in walk(after, before)]
    assert sorted(map(repr, there)) == sorted(map(repr, back))
    assert bool(there) == (repr_of(before) != repr_of(after))


def repr_of(value: Any) -> str:
    """Return a value with its types, the order of keys left out."""
    if isinstance(value, dict):
        return repr({key: repr_of(value[key]) for key in sorted(value)})
    if isinstance(value, list):
        return repr([repr_of(each) for each in value])
    return repr(0.0 if value == 0 and isinstance(value, float) else value)


def test_true_is_not_one() -> None:
    step = task("a", inputs={"x": True})
    other = task("a", inputs={"x": 1})
    assert differences(workflow(step), workflow(other)) == [
        Change("changed", "a", ("config", "inputs", "x"), True, 1)
    ]
