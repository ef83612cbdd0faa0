"""Which requests a person sees, and which ones wait for them; which rights given ahead hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import connections
from django.db.models import BooleanField, F, Q
from django.db.models.expressions import RawSQL

from workflows.querysets import InWorkspaceQuerySet

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from workflows.querysets import Reader


_FAMILY = """workflow_step_approvals.id IN (
    WITH RECURSIVE earlier AS (
        SELECT id, parent_approval_id FROM workflow_step_approvals WHERE id = %s
        UNION SELECT a.id, a.parent_approval_id
        FROM workflow_step_approvals a JOIN earlier e ON a.id = e.parent_approval_id
    ), later AS (
        SELECT id FROM workflow_step_approvals WHERE id = %s
        UNION SELECT a.id
        FROM workflow_step_approvals a JOIN later l ON a.parent_approval_id = l.id
    ) SELECT id FROM earlier UNION SELECT id FROM later)"""


class ApprovalQuerySet(InWorkspaceQuerySet):
    def pending(self) -> Self:
        return self.filter(status="pending")

    def decided(self) -> Self:
        return self.exclude(status="pending")

    def decidable_by(self, user: Reader) -> Self:
        """Pending requests that ``user`` may decide now (``approvals/rights.py``)."""
        from approvals.candidates import may_wait_for
        from approvals.rights import may_decide

        if not user.pk:
            return self.none()
        return self.pending().filter(may_wait_for(user.pk), may_decide(user))

    def family_of(self, approval_id: UUID) -> Self:
        """A request with those that it revises and those that revise it, the earliest first."""
        key = self.model._meta.pk.get_db_prep_value(approval_id, connections[self.db])
        return self.filter(RawSQL(_FAMILY, [key, key], BooleanField())).order_by("id")


class DelegationQuerySet(InWorkspaceQuerySet):
    def lasting(self, now: datetime) -> Self:
        """Those that hold at ``now`` or will later."""
        is_open = Q(ends_at__isnull=True) | Q(ends_at__gt=now)
        return self.filter(is_open, revoked_at__isnull=True)


class GrantQuerySet(InWorkspaceQuerySet):
    def live(self, now: datetime) -> Self:
        """Those that can still be used."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=now, uses__lt=F("max_uses"))
