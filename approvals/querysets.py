"""Which requests a person sees, and which ones wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from workflows.querysets import InWorkspaceQuerySet

if TYPE_CHECKING:
    from workflows.querysets import Reader


class ApprovalQuerySet(InWorkspaceQuerySet):
    def pending(self) -> Self:
        return self.filter(status="pending")

    def decided(self) -> Self:
        return self.exclude(status="pending")

    def decidable_by(self, user: Reader) -> Self:
        """Pending requests that ``user`` may decide now (``approvals/rights.py``)."""
        from approvals.rights import may_decide

        return self.pending().filter(may_decide(user)) if user.pk else self.none()
