"""The one writer of decisions: each is numbered in its workspace and covers the one before it."""

from collections.abc import Sequence

from approvals.models import ApprovalDecision


def record_decisions(decisions: Sequence[ApprovalDecision]) -> None:
    """Write new decisions, in their order, with their numbers and hashes.

    Call it inside a transaction that has locked the executions and the requests, and locks
    nothing more but event streams. The decisions' requests must be loaded.
    """
    raise NotImplementedError
