"""Which requests a person sees, and which ones wait for them; which rights given ahead hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db.models import F, Q

from workflows.querysets import InWorkspaceQuerySet

if TYPE_CHECKING:
    from datetime import datetime

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


class DelegationQuerySet(InWorkspaceQuerySet):
    def lasting(self, now: datetime) -> Self:
        """Those that hold at ``now`` or will later."""
        is_open = Q(ends_at__isnull=True) | Q(ends_at__gt=now)
        return self.filter(is_open, revoked_at__isnull=True)


class GrantQuerySet(InWorkspaceQuerySet):
    def live(self, now: datetime) -> Self:
        """Those that can still be used."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=now, uses__lt=F("max_uses"))
