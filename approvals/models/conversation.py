"""What is said about a request: remarks, questions that stop its clock, reviews of its files."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.requests import WorkflowStepApproval
from workflows.core.ids import uuid7


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


class ApprovalQuestion(models.Model):
    """What an approver wants to know first. The deadline stands still until it is answered."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="questions"
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    body = models.TextField()
    asked_at = models.DateTimeField()
    answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    answer = models.TextField(blank=True)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["asked_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(answered_at__isnull=True, answered_by__isnull=True, answer="")
                | (Q(answered_at__isnull=False, answered_by__isnull=False) & ~Q(answer="")),
                name="question_answered_by_someone",
            )
        ]

    def __str__(self) -> str:
        return self.body[:80]


class FileOutcome(models.TextChoices):
    """What a person says of one file."""

    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    REQUEST_CHANGES = "request_changes", "Changes requested"


class FileReview(models.Model):
    """What a person says of one of the files in ``approval_data["files"]``, until they decide.

    ``digest``: of the content that they saw; what they said of another one does not count.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="file_reviews"
    )
    path = models.CharField(max_length=500)
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    outcome = models.CharField(max_length=20, choices=FileOutcome.choices)
    comment = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    reviewed_at = models.DateTimeField()

    class Meta:
        ordering = ["path"]
        constraints = [
            models.UniqueConstraint(
                fields=["approval", "path", "reviewer"], name="file_review_one_a_person"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=FileOutcome.values), name="file_review_outcome_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.path}: {self.outcome}"


class LineComment(models.Model):
    """A remark on a line of a file: of what it was (``old``) or of what it becomes (``new``).

    ``digest``: of the content in which the line has this number.
    """

    SIDES = [("old", "Before"), ("new", "After")]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="line_comments"
    )
    path = models.CharField(max_length=500)
    side = models.CharField(max_length=3, choices=SIDES, default="new")
    line = models.PositiveIntegerField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    body = models.TextField()
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["path", "line", "created_at"]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class SeenApproval(models.Model):
    """That a person has opened a request: what a later revision is compared with."""

    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="seen"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["approval", "user"], name="seen_once_a_person")
        ]

    def __str__(self) -> str:
        return f"{self.user} saw {self.approval}"
