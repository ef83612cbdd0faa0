"""Requests for a human decision, who may decide, and every decision taken."""

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


class Outcome(models.TextChoices):
    """What a person, or the system for them, decides."""

    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    REQUEST_CHANGES = "request_changes", "Changes requested"
    TIMEOUT = "timeout", "Timed out"


class Door(models.TextChoices):
    """Through which door a decision came."""

    PAGE = "page", "Page"
    ADMIN = "admin", "Admin"
    API = "api", "API"
    LINK = "link", "Link"
    SYSTEM = "system", "System"


class WorkflowStepApproval(models.Model):
    """One request for a human decision, of a step or free-standing.

    ``digest`` is that of title, description, ``approval_data`` and revision: what a person sees
    and decides on. ``approved_by`` is whoever decided. ``approval_metadata`` holds the rules that
    are no columns: ``on_reject``, ``on_timeout``.
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
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
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
    parent_approval = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="revisions"
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
        indexes = [
            models.Index(
                fields=["workspace", "expires_at"],
                name="approval_pending",
                condition=Q(status="pending"),
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

    A request without any is for every member from ``approver`` up.
    """

    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="approvers"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, related_name="+")
    role = models.CharField(max_length=20, choices=Role.choices, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True, role="")
                | Q(user__isnull=True, group__isnull=False, role="")
                | (Q(user__isnull=True, group__isnull=True) & ~Q(role="")),
                name="approver_is_one_thing",
            )
        ]

    def __str__(self) -> str:
        return str(self.user or self.group or self.role)


class ApprovalDecision(models.Model):
    """One decision, as it was taken: who, what, on which digest, when, through which door.

    ``is_final`` marks the one that ended the request. ``user`` is null for the system's own.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="decisions"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    outcome = models.CharField(max_length=20, choices=Outcome.choices)
    comment = models.TextField(blank=True)
    response_data = models.JSONField(null=True)
    digest = models.CharField(max_length=64)
    revision = models.PositiveIntegerField(default=1)
    door = models.CharField(max_length=10, choices=Door.choices)
    is_final = models.BooleanField(default=True)
    decided_at = models.DateTimeField()

    class Meta:
        ordering = ["decided_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["approval"], condition=Q(is_final=True), name="approval_one_final_decision"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=Outcome.values), name="decision_outcome_known"
            ),
            models.CheckConstraint(
                condition=Q(door="system", user__isnull=True)
                | (~Q(door="system") & Q(user__isnull=False)),
                name="decision_of_a_person_or_the_system",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or 'MGX'}: {self.outcome}"


class ApprovalComment(models.Model):
    """A remark that decides nothing."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="comments"
    )
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    body = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.body[:80]
