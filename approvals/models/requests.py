"""Requests for a human decision, and who may decide on them."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q

from approvals.querysets import ApprovalQuerySet
from workflows.core.ids import uuid7
from workflows.models import Project, Role, WorkflowExecution, WorkflowStepExecution, Workspace


class ApprovalStatus(models.TextChoices):
    """``pending`` is the only status that can change."""

    PENDING = "pending", "Waiting for approval"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    REQUEST_CHANGES = "request_changes", "Changes requested"
    CANCELLED = "cancelled", "Cancelled"
    TIMEOUT = "timeout", "Timed out"


class Risk(models.TextChoices):
    """How much is at stake, as the workflow's editor sees it."""

    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"


class WorkflowStepApproval(models.Model):
    """One request for a human decision, of a step or free-standing.

    ``digest`` is that of title, description, ``approval_data`` and revision: what a person sees
    and decides on. ``approved_by`` is whoever decided. ``approval_metadata`` holds the rules that
    are no columns, under their names in ``workflows.core.approval.Approval``. While
    ``clock_stopped_at`` is set, a question waits for its answer and nothing expires;
    ``stood_still_seconds`` is for how long that was so before. ``reminded_seconds`` is the last of
    the ``reminders`` that was sent.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    step_execution = models.ForeignKey(
        WorkflowStepExecution, on_delete=models.CASCADE, null=True, related_name="approvals"
    )
    workflow_execution = models.ForeignKey(
        WorkflowExecution, on_delete=models.CASCADE, null=True, related_name="approvals"
    )
    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="approvals", db_index=False
    )
    project = models.ForeignKey(
        Project, on_delete=models.SET_NULL, null=True, related_name="approvals", db_index=False
    )
    status = models.CharField(
        max_length=20, choices=ApprovalStatus.choices, default=ApprovalStatus.PENDING
    )
    title = models.CharField(max_length=500)
    description = models.TextField(blank=True)
    approval_data = models.JSONField(default=dict)
    digest = models.CharField(max_length=64)
    risk = models.CharField(max_length=10, choices=Risk.choices, default=Risk.MEDIUM)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    feedback = models.TextField(blank=True)
    response_data = models.JSONField(null=True)
    requested_at = models.DateTimeField()
    responded_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    auto_approve_after_seconds = models.PositiveIntegerField(null=True)
    required_approvers = models.JSONField(default=list)
    prevent_self_approval = models.BooleanField(default=False)
    approval_metadata = models.JSONField(default=dict)
    revision_count = models.PositiveIntegerField(default=0)
    clock_stopped_at = models.DateTimeField(null=True)
    stood_still_seconds = models.FloatField(default=0.0, db_default=0.0)
    reminded_seconds = models.PositiveIntegerField(default=0, db_default=0)
    escalated_at = models.DateTimeField(null=True)
    callback_url = models.URLField(max_length=2_000, blank=True, default="", db_default="")
    parent_approval = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="revisions", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        db_table = "workflow_step_approvals"
        constraints = [
            models.UniqueConstraint(
                fields=["step_execution"],
                condition=Q(status="pending"),
                name="approval_one_pending_a_step",
            ),
            models.CheckConstraint(
                condition=Q(status__in=ApprovalStatus.values), name="approval_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status="pending", responded_at__isnull=True)
                | (~Q(status="pending") & Q(responded_at__isnull=False)),
                name="approval_responded_when_decided",
            ),
        ]
        # What waits for a person is found from the approvers' side (`approvals/candidates.py`),
        # among the few that are pending.
        indexes = [
            models.Index(
                fields=["workspace", "expires_at", "id"],
                name="approval_pending",
                condition=Q(status="pending"),
            ),
            models.Index(fields=["id"], name="approval_open", condition=Q(status="pending")),
            models.Index(
                fields=["workspace"],
                name="approval_for_anyone",
                condition=Q(status="pending", required_approvers=[]),
            ),
            models.Index(
                fields=["workspace", "-responded_at", "-id"],
                name="approval_decided",
                condition=~Q(status="pending"),
            ),
            models.Index(
                fields=["parent_approval"],
                name="approval_revisions",
                condition=Q(parent_approval__isnull=False),
            ),
            models.Index(fields=["workspace", "-requested_at"], name="approval_recent"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def revision(self) -> int:
        """The revision of the work that is shown, 1 for the first."""
        return self.revision_count + 1


class ApprovalApprover(models.Model):
    """One entry of ``required_approvers``, resolved: a user, a group, or a role from which on.

    ``name`` is the entry as it was written; ``is_escalation``: it was added as nobody decided. A
    request without any is for every member from ``approver`` up.
    """

    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="approvers"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
    )
    group = models.ForeignKey(
        Group, on_delete=models.CASCADE, null=True, related_name="+", db_index=False
    )
    role = models.CharField(max_length=20, choices=Role.choices, blank=True)
    name = models.CharField(max_length=200, blank=True, default="", db_default="")
    is_escalation = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True, role="")
                | Q(user__isnull=True, group__isnull=False, role="")
                | (Q(user__isnull=True, group__isnull=True) & ~Q(role="")),
                name="approver_is_one_thing",
            )
        ]
        # Each row is in one of them.
        indexes = [
            models.Index(
                fields=["user", "approval"],
                name="approver_user",
                condition=Q(user__isnull=False),
            ),
            models.Index(
                fields=["group", "approval"],
                name="approver_group",
                condition=Q(group__isnull=False),
            ),
            models.Index(fields=["role", "approval"], name="approver_role", condition=~Q(role="")),
        ]

    def __str__(self) -> str:
        return str(self.user or self.group or self.role)
