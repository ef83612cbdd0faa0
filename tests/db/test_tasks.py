"""Tasks: their inputs are what the signature asks for, at save as far as that can be told."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from tests.db.engine.scenes import Scene, task, temporary
from workflows.errors import InvalidInput
from workflows.handlers import StepContext
from workflows.tasks import InvalidInputs, find_task, input_problems

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(workspace: Any, users: dict[str, Any]) -> Scene:
    return Scene(workspace, users)


class Line(BaseModel):
    sku: str


class Strange:
    """A class that JSON has no word for."""


@pytest.fixture
def typed() -> Iterator[None]:
    @temporary("test.typed")
    def typed_task(
        order: str,
        amount: float,
        context: StepContext,
        *,
        when: date | None = None,
        kind: Literal["full", "part"] = "full",
        tags: Annotated[list[str], Field(max_length=2)] = [],  # noqa: B006
        price: Decimal | int = 0,
        strange: Strange | None = None,
        lines: list[Line] = [],  # noqa: B006
    ) -> list[Any]:
        return [order, amount, when, kind, tags]

    with typed_task:
        yield


def found(**inputs: Any) -> list[tuple[str, str]]:
    return [
        ("/".join(map(str, path)), kind) for path, kind, _ in input_problems("test.typed", inputs)
    ]


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    "inputs",
    [
        {"order": "a", "amount": 5},
        {"order": "", "amount": 0.5, "when": "2030-01-31", "kind": "part", "tags": ["x"]},
        {"order": "a", "amount": 1, "when": None, "strange": {"anything": 1}},
        {"order": "${order}", "amount": "${amount}", "kind": "${kind}", "tags": ["${a}", 1]},
        {"order": "a", "amount": "steps.before.amount"},
    ],
)
def test_finds_nothing_wrong(inputs: dict[str, Any]) -> None:
    assert found(**inputs) == []


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, [("order", "missing"), ("amount", "missing")]),
        ({"order": 5, "amount": 1}, [("order", "wrong_type")]),
        ({"order": "a", "amount": "1"}, [("amount", "wrong_type")]),
        ({"order": "a", "amount": True}, [("amount", "wrong_type")]),
        ({"order": "a", "amount": None}, [("amount", "wrong_type")]),
        ({"order": "a", "amount": 10**400}, [("amount", "finite_number")]),
        ({"order": "a", "amount": 1, "lines": [{"sku": 1}]}, [("lines/0/sku", "wrong_type")]),
        ({"order": "a", "amount": 1, "oder": 1}, [("oder", "unknown_input")]),
        ({"order": "a", "amount": 1, "context": {}}, [("context", "unknown_input")]),
        ({"order": "a", "amount": 1, "kind": "half"}, [("kind", "literal_error")]),
        ({"order": "a", "amount": 1, "tags": ["a", 1]}, [("tags/1", "wrong_type")]),
        ({"order": "a", "amount": 1, "tags": ["a"] * 3}, [("tags", "too_long")]),
        ({"order": "a", "amount": 1, "when": "soon"}, [("when", "date_from_datetime_parsing")]),
    ],
)
def test_tells_everything_that_is_wrong_and_where(
    inputs: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert [place for place, _ in found(**inputs)] == [place for place, _ in expected]
    kinds = {"date_from_datetime_parsing": "wrong_type"}
    assert found(**inputs) == [(place, kinds.get(kind, kind)) for place, kind in expected]


def test_tells_no_more_than_anybody_reads() -> None:
    problems = input_problems("log", {f"{n}" + "x" * 1_000: n for n in range(1_000)})
    assert len(problems) == 20
    assert max(len(message) for _, _, message in problems) < 500


@pytest.mark.usefixtures("typed")
def test_a_message_never_holds_the_value() -> None:
    [(_, _, message)] = input_problems("test.typed", {"order": ["canary"], "amount": 1})
    assert "'order'" in message
    assert "canary" not in message


def test_a_task_that_nobody_knows_has_no_problems_of_its_own() -> None:
    assert input_problems("test.unknown", {"a": 1}) == []


def test_a_task_may_take_any_inputs() -> None:
    assert input_problems("transform", {"context": 1, "anything": None}) == []


@pytest.mark.usefixtures("typed")
def test_arguments_are_what_the_annotations_say() -> None:
    known = find_task("test.typed")
    assert known is not None
    arguments = known.read({"order": "a", "amount": 2, "when": "2030-01-31"})
    assert arguments == {"order": "a", "amount": 2.0, "when": date(2030, 1, 31)}
    with pytest.raises(InvalidInputs) as caught:
        known.read({"order": "${order}", "amount": "2"})
    assert (caught.value.code, caught.value.is_final) == ("invalid_inputs", True)


@pytest.mark.usefixtures("typed")
def test_annotations_that_name_nothing_are_not_checked() -> None:
    @temporary("test.loose")
    def loose(a: "NotThere", b: int = 1) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Do nothing."""

    with loose:
        assert input_problems("test.loose", {"a": 1, "b": "x"}) == []


@pytest.mark.usefixtures("typed")
def test_wrong_inputs_are_told_at_save_with_their_place(scene: Scene) -> None:
    block = {
        "name": "all",
        "step_type": "parallel",
        "config": {"steps": [task("inner", "sleep", inputs={"seconds": "1"})]},
    }
    with pytest.raises(InvalidInput) as caught:
        scene.workflow(task("s", "test.typed", inputs={"order": "a", "amout": 1}), block)
    assert sorted((p.step_name, p.path, p.error_type) for p in caught.value.problems) == [
        ("inner", "/steps/1/config/steps/0/config/inputs/seconds", "wrong_type"),
        ("s", "/steps/0/config/inputs/amount", "missing"),
        ("s", "/steps/0/config/inputs/amout", "unknown_input"),
    ]
