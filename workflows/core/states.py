"""Every status of an execution and of a step, and every legal move between two of them.

``pending → running ⇄ waiting ⇄ paused → completed | failed | cancelled | timeout`` for an
execution, ``pending → running ⇄ retrying, waiting → completed | failed | skipped | cancelled |
timeout`` for a step. What has ended stays as it ended, with one exception: a retry takes an
execution that has failed up again. A retry, and a gate that sends work back, add a revision of
each step that is done anew.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class ExecutionStatus(StrEnum):
    """What an execution is doing. ``waiting``: only people or timers are left."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


class StepStatus(StrEnum):
    """What a step is doing. ``retrying``: it waits for its next attempt, after one that failed or
    that people have answered."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


class SkipReason(StrEnum):
    """Why a step never ran. ``trigger_rule_not_met``: its rule wanted a failure or a skip."""

    CONDITION_FALSE = "condition_false"
    BRANCH_NOT_TAKEN = "branch_not_taken"
    UPSTREAM_SKIPPED = "upstream_skipped"
    UPSTREAM_FAILED = "upstream_failed"
    TRIGGER_RULE_NOT_MET = "trigger_rule_not_met"


_E = ExecutionStatus
_S = StepStatus

#: The statuses from which a retry takes an execution up again; nothing else ever leaves them.
RETRYABLE_EXECUTION_STATUSES = frozenset({_E.FAILED, _E.CANCELLED, _E.TIMEOUT})

EXECUTION_MOVES: Mapping[ExecutionStatus, frozenset[ExecutionStatus]] = MappingProxyType(
    {
        _E.PENDING: frozenset({_E.RUNNING, _E.WAITING, _E.PAUSED, _E.FAILED, _E.CANCELLED}),
        _E.RUNNING: frozenset(
            {_E.WAITING, _E.PAUSED, _E.COMPLETED, _E.FAILED, _E.CANCELLED, _E.TIMEOUT}
        ),
        _E.WAITING: frozenset(
            {_E.RUNNING, _E.PAUSED, _E.COMPLETED, _E.FAILED, _E.CANCELLED, _E.TIMEOUT}
        ),
        _E.PAUSED: frozenset({_E.RUNNING, _E.WAITING, _E.CANCELLED, _E.TIMEOUT}),
        _E.COMPLETED: frozenset(),
        **dict.fromkeys(RETRYABLE_EXECUTION_STATUSES, frozenset({_E.PENDING})),
    }
)

STEP_MOVES: Mapping[StepStatus, frozenset[StepStatus]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.RUNNING, _S.WAITING, _S.FAILED, _S.SKIPPED, _S.CANCELLED}),
        _S.RUNNING: frozenset(
            {
                _S.RUNNING,
                _S.RETRYING,
                _S.WAITING,
                _S.COMPLETED,
                _S.FAILED,
                _S.SKIPPED,
                _S.CANCELLED,
                _S.TIMEOUT,
            }
        ),
        _S.RETRYING: frozenset({_S.RUNNING, _S.FAILED, _S.CANCELLED, _S.TIMEOUT}),
        _S.WAITING: frozenset(
            {
                _S.RUNNING,
                _S.RETRYING,
                _S.COMPLETED,
                _S.FAILED,
                _S.SKIPPED,
                _S.CANCELLED,
                _S.TIMEOUT,
            }
        ),
        _S.COMPLETED: frozenset(),
        _S.FAILED: frozenset(),
        _S.SKIPPED: frozenset(),
        _S.CANCELLED: frozenset(),
        _S.TIMEOUT: frozenset(),
    }
)

TERMINAL_EXECUTION_STATUSES = RETRYABLE_EXECUTION_STATUSES | {_E.COMPLETED}
TERMINAL_STEP_STATUSES = frozenset(s for s, moves in STEP_MOVES.items() if not moves)
LIVE_EXECUTION_STATUSES = frozenset(ExecutionStatus) - TERMINAL_EXECUTION_STATUSES
