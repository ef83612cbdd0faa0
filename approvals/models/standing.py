"""Rights that are given ahead: to a delegate, and to what a standing grant describes."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from approvals.models.requests import WorkflowStepApproval
from approvals.querysets import DelegationQuerySet, GrantQuerySet
from workflows.core.ids import uuid7
from workflows.models import Workflow, Workspace


class Delegation(models.Model):
    """``delegate`` may decide what ``delegator`` may: one request, or all from start to end.

    It holds between ``starts_at`` and ``ends_at`` unless ``revoked_at`` is set.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="delegations")
    delegator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="delegations_given"
    )
    delegate = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="delegations_held"
    )
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, null=True, related_name="delegations"
    )
    reason = models.CharField(max_length=500, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    objects = DelegationQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(delegator=F("delegate")), name="delegation_to_another_person"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True, approval__isnull=False)
                | Q(ends_at__gt=F("starts_at")),
                name="delegation_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delegator} to {self.delegate}"


class StandingGrant(models.Model):
    """An approval given ahead for requests that match, at most ``max_uses`` times.

    ``predicate`` is an expression over ``payload``, ``title`` and ``risk``; empty: every request
    of the workflow, or of its step ``step_name``.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="grants")
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="grants"
    )
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="grants")
    step_name = models.CharField(max_length=200, blank=True)
    predicate = models.TextField(blank=True)
    note = models.CharField(max_length=500, blank=True)
    max_uses = models.PositiveIntegerField()
    uses = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(max_uses__gt=0, uses__lte=F("max_uses")), name="grant_within_its_limit"
            )
        ]

    def __str__(self) -> str:
        return f"{self.granted_by}: {self.workflow} {self.step_name}".strip()
