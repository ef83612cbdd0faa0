"""Which requests a person sees, and which ones wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db.models import Exists, OuterRef, Q

from workflows.querysets import InWorkspaceQuerySet

if TYPE_CHECKING:
    from workflows.querysets import Reader


class ApprovalQuerySet(InWorkspaceQuerySet):
    def pending(self) -> Self:
        return self.filter(status="pending")

    def decided(self) -> Self:
        return self.exclude(status="pending")

    def decidable_by(self, user: Reader) -> Self:
        """Pending requests that ``user`` may decide now, by membership, name, group or role.

        The rule against deciding on one's own run counts too.
        """
        from approvals.models import ApprovalApprover
        from workflows.models import Membership, Role

        if user.pk is None:
            return self.none()
        member = Membership.objects.filter(
            workspace_id=OuterRef("workspace_id"), user_id=user.pk, user__is_active=True
        )
        named = ApprovalApprover.objects.filter(approval_id=OuterRef("pk"))
        # A role names itself and the roles above it.
        has_role = Membership.objects.filter(
            workspace_id=OuterRef("approval__workspace_id"), user_id=user.pk
        )
        roles = Q()
        for role in Role:
            roles |= Q(role=role) & Exists(has_role.filter(role__in=Role.from_(role)))
        mine = named.filter(Q(user_id=user.pk) | Q(group__user=user.pk) | roles)
        return (
            self.pending()
            .filter(Exists(member))
            .filter(
                Exists(mine)
                | (~Exists(named) & Exists(member.filter(role__in=Role.from_(Role.APPROVER))))
            )
            .exclude(Q(approval_metadata__prevent_self_approval=True) & Q(requested_by_id=user.pk))
        )
