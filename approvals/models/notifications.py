"""What people are told outside the page, what they chose to be told, and the links they get."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.requests import WorkflowStepApproval
from workflows.core.ids import uuid7
from workflows.models import Workspace


class NotificationKind(models.TextChoices):
    """What a person is told of."""

    REQUEST = "request", "A request waits for me"
    REMINDER = "reminder", "A request still waits for me"
    ESCALATION = "escalation", "A request was escalated to me"
    QUESTION = "question", "I am asked a question, or mine is answered"
    OUTCOME = "outcome", "What I asked for is decided"


class Channel(models.TextChoices):
    """How a person is told."""

    EMAIL = "email", "E-mail"
    BROWSER = "browser", "Browser"


class NotificationPreference(models.Model):
    """A choice that differs from what is usual (``approvals/notifications``)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notification_preferences"
    )
    kind = models.CharField(max_length=20, choices=NotificationKind.choices)
    channel = models.CharField(max_length=10, choices=Channel.choices)
    is_on = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "kind", "channel"], name="notification_preference_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.kind} by {self.channel}"


class ApprovalLink(models.Model):
    """A person's link to one request. It opens the page; deciding through it uses it up."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="links"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.user} to {self.approval}"


class Notification(models.Model):
    """A message to one person about an event, sent or to be sent.

    ``due_at`` is when it is tried next; null once it is ``sent``, ``skipped`` or ``failed``.
    """

    STATUSES = [
        ("pending", "Pending"),
        ("sent", "Sent"),
        ("skipped", "Not needed any more"),
        ("failed", "Failed"),
    ]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="notifications", db_index=False
    )
    event_seq = models.BigIntegerField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications"
    )
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="notifications"
    )
    kind = models.CharField(max_length=20, choices=NotificationKind.choices)
    channel = models.CharField(max_length=10, choices=Channel.choices)
    status = models.CharField(max_length=10, choices=STATUSES, default="pending")
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "event_seq", "user", "channel"], name="notification_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at"], name="notification_due", condition=Q(due_at__isnull=False)
            ),
            models.Index(
                fields=["created_at"], name="notification_failed", condition=Q(status="failed")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.user}"
