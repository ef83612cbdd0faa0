"""The statuses and their moves, held to the one line that describes them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from workflows.core.states import (
    EXECUTION_MOVES,
    LIVE_EXECUTION_STATUSES,
    RETRYABLE_EXECUTION_STATUSES,
    STEP_MOVES,
    TERMINAL_EXECUTION_STATUSES,
    TERMINAL_STEP_STATUSES,
    ExecutionStatus,
    SkipReason,
    StepStatus,
)

MACHINES = [(ExecutionStatus, EXECUTION_MOVES), (StepStatus, STEP_MOVES)]
ENDS = {
    ExecutionStatus: TERMINAL_EXECUTION_STATUSES,
    StepStatus: TERMINAL_STEP_STATUSES,
}


@pytest.mark.parametrize(("statuses", "moves"), MACHINES)
def test_every_status_has_its_moves(statuses: type[StrEnum], moves: Mapping[Any, Any]) -> None:
    assert set(moves) == set(statuses)
    assert all(targets <= set(statuses) for targets in moves.values())


@pytest.mark.parametrize(("statuses", "moves"), MACHINES)
def test_every_status_can_be_reached_and_left_for_an_end(
    statuses: type[StrEnum], moves: Mapping[Any, Any]
) -> None:
    def reach(status: Any) -> set[Any]:
        found, pending = {status}, [status]
        while pending:
            new = moves[pending.pop()] - found
            found |= new
            pending.extend(new)
        return found

    assert reach(statuses("pending")) == set(statuses)
    assert all(reach(status) & ENDS[statuses] for status in statuses)


def test_what_has_ended_stays_so_unless_a_run_that_did_not_complete_is_retried() -> None:
    for statuses, moves in MACHINES:
        left = {status: moves[status] for status in ENDS[statuses] if moves[status]}
        may = RETRYABLE_EXECUTION_STATUSES if statuses is ExecutionStatus else set()
        assert left == {status: {ExecutionStatus.PENDING} for status in may}
    assert {"failed", "cancelled", "timeout"} == RETRYABLE_EXECUTION_STATUSES


def test_the_terminal_statuses_are_those_of_the_contract() -> None:
    assert {"completed", "failed", "cancelled", "timeout"} == TERMINAL_EXECUTION_STATUSES
    assert {"completed", "failed", "skipped", "cancelled", "timeout"} == TERMINAL_STEP_STATUSES
    assert LIVE_EXECUTION_STATUSES.isdisjoint(TERMINAL_EXECUTION_STATUSES)
    assert set(ExecutionStatus) == LIVE_EXECUTION_STATUSES | TERMINAL_EXECUTION_STATUSES


def test_whatever_is_live_can_be_cancelled() -> None:
    assert all("cancelled" in EXECUTION_MOVES[status] for status in LIVE_EXECUTION_STATUSES)
    live = set(StepStatus) - TERMINAL_STEP_STATUSES
    assert all("cancelled" in STEP_MOVES[status] for status in live)


def test_the_moves_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        EXECUTION_MOVES[ExecutionStatus.COMPLETED] = frozenset()  # type: ignore[index]


def test_the_skip_reasons_are_those_of_the_contract() -> None:
    contract = {"condition_false", "branch_not_taken", "upstream_skipped", "upstream_failed"}
    assert contract | {"trigger_rule_not_met"} == set(SkipReason)
