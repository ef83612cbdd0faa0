"""Identifiers: RFC 9562 in their bits, and what can be counted on besides."""

import time
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core import ids
from workflows.core.ids import event_id, step_execution_id, uuid7

EXECUTION = UUID("0192f0c1-2345-7abc-8def-0123456789ab")
FROZEN_STEP = "0192f0c1-2345-84cb-b600-02ea2253c486"
FROZEN_EVENT = "2bb0608b-0a03-8dad-8000-00000000002a"


def is_rfc_9562(value: UUID, version: int) -> bool:
    return value.version == version and value.variant == RFC_4122


def test_a_new_identifier_is_of_version_7() -> None:
    assert all(is_rfc_9562(uuid7(), 7) for _ in range(1_000))


def test_a_new_identifier_begins_with_its_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    found = uuid7().int >> 80
    assert before <= found <= time.time_ns() // 1_000_000


def test_new_identifiers_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for millisecond in (0, 1, 999, 2**32, 2**48 - 1):
        monkeypatch.setattr(ids.time, "time_ns", lambda m=millisecond: m * 1_000_000)
        made.append(uuid7())
    assert made == sorted(made)
    assert [str(value) for value in made] == sorted(str(value) for value in made)


def test_new_identifiers_of_one_moment_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_700_000_000_000_000_000)
    assert len({uuid7() for _ in range(10_000)}) == 10_000


@given(st.text(max_size=200), st.integers(1, 2**31 - 1))
def test_a_step_is_named_by_its_execution_name_and_revision(name: str, revision: int) -> None:
    found = step_execution_id(EXECUTION, name, revision)
    assert is_rfc_9562(found, 8)
    assert found == step_execution_id(EXECUTION, name, revision)
    assert found.int >> 80 == EXECUTION.int >> 80
    assert found != step_execution_id(EXECUTION, name, revision + 1)
    assert found != step_execution_id(EXECUTION, name + "x", revision)
    assert found != step_execution_id(uuid7(), name, revision)


def test_a_revision_is_not_mistaken_for_a_part_of_the_name() -> None:
    assert step_execution_id(EXECUTION, "1:a", 1) != step_execution_id(EXECUTION, "a", 11)
    assert step_execution_id(EXECUTION, "2:a", 1) != step_execution_id(EXECUTION, "a", 12)


def test_the_identifier_of_a_step_never_changes_from_version_to_version() -> None:
    """Rows of older installations are found by it."""
    found = step_execution_id(EXECUTION, "generate_plan", 1)
    assert found == UUID(FROZEN_STEP)
    assert event_id(EXECUTION, 42) == UUID(FROZEN_EVENT)


@given(st.integers(1, 2**62 - 1), st.integers(1, 2**62 - 1))
def test_an_event_is_named_by_its_workspace_and_number(one: int, other: int) -> None:
    assert is_rfc_9562(event_id(EXECUTION, one), 8)
    assert (event_id(EXECUTION, one) == event_id(EXECUTION, other)) is (one == other)
    assert event_id(EXECUTION, one) != event_id(uuid7(), one)
