"""How far a request is decided: who has approved, and whose approval it still lacks."""

from dataclasses import dataclass

from approvals.models import ApprovalDecision, WorkflowStepApproval


@dataclass(frozen=True, slots=True)
class Tally:
    """``given`` of the ``needed`` approvals, the names still ``missing``, and the ``votes``.

    A vote that was taken back, or was for content that was edited since, is none.
    """

    given: int
    needed: int
    missing: list[str]
    votes: list[ApprovalDecision]


def tally(approval: WorkflowStepApproval) -> Tally:
    """Return how far ``approval`` is approved. Its ``decisions``, if prefetched, are not read anew.

    The votes come with ``user`` and ``on_behalf_of`` if the prefetch has them.
    """
    raise NotImplementedError
