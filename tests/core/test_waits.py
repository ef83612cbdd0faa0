"""Waits: what may be waited for is told at save where it is written out, else when it begins."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workflows.core.errors import ExpressionError
from workflows.core.steps import WaitStep
from workflows.core.waits import due_at, moment_of, problems_of_wait, seconds_of

NOW = datetime(2030, 1, 31, 8, 0, tzinfo=UTC)


def wait(**config: Any) -> WaitStep:
    return WaitStep.model_validate({"name": "w", "step_type": "wait", "config": config})


@pytest.mark.parametrize(
    "config",
    [
        {"seconds": 0},
        {"seconds": 2.5},
        {"seconds": "${pause}"},
        {"seconds": "steps.ask.seconds"},
        {"until": "2030-01-31T09:00:00+01:00"},
        {"until": "2030-01-31T09:00:00Z"},
        {"until": "${day}T09:00:00Z"},
        {"event": "paid", "on_timeout": "continue"},
    ],
)
def test_finds_nothing_wrong(config: dict[str, Any]) -> None:
    assert problems_of_wait(wait(**config)) == []


@pytest.mark.parametrize(
    ("config", "field", "error_type"),
    [
        ({"seconds": "5"}, "seconds", "wrong_type"),
        ({"seconds": "soon"}, "seconds", "wrong_type"),
        ({"until": "tomorrow"}, "until", "invalid_moment"),
        ({"until": "2030-01-31"}, "until", "invalid_moment"),
        ({"until": "2030-01-31T09:00:00"}, "until", "invalid_moment"),
        ({"until": "2030-02-30T09:00:00Z"}, "until", "invalid_moment"),
        ({"until": "9999-12-31T23:59:59-12:00"}, "until", "invalid_moment"),
        ({"seconds": 1, "on_timeout": "continue"}, "on_timeout", "not_supported"),
    ],
)
def test_tells_what_is_wrong_where_it_is_written_out(
    config: dict[str, Any], field: str, error_type: str
) -> None:
    [(found_field, found_type, message)] = problems_of_wait(wait(**config))
    assert (found_field, found_type) == (field, error_type)
    assert "'w'" in message


@pytest.mark.parametrize(
    "value", ["5", True, None, -1, -0.001, 1e12, 10**400, float("nan"), float("inf"), [1], {}]
)
def test_refuses_what_is_no_number_of_seconds(value: object) -> None:
    with pytest.raises(ExpressionError):
        seconds_of(value)


@pytest.mark.parametrize("value", [5, None, True, "", "x" * 10_000, ["2030-01-31T09:00:00Z"]])
def test_refuses_what_is_no_moment(value: object) -> None:
    with pytest.raises(ExpressionError) as caught:
        moment_of(value)
    assert len(caught.value.message) < 200


def test_goes_on_when_its_time_has_come() -> None:
    assert due_at({"seconds": 90}, NOW, None) == NOW + timedelta(seconds=90)
    in_utc = datetime(2030, 1, 31, 8, 30, tzinfo=UTC)
    assert due_at({"until": "2030-01-31T09:30:00+01:00"}, NOW, None) == in_utc


def test_waits_for_an_event_as_long_as_the_step_may_take() -> None:
    assert due_at({"event": "paid"}, NOW, None) is None
    assert due_at({"event": "paid"}, NOW, 60) == NOW + timedelta(seconds=60)
