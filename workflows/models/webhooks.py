"""Who outside is called when something happens, and each call; and how far readers have read."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from workflows.core.ids import uuid7
from workflows.models.tenants import Workspace
from workflows.querysets import InWorkspaceQuerySet


class StreamCursor(models.Model):
    """How far a reader that works behind the scenes has read a workspace's events.

    What it makes of them and its new position commit together.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    reader = models.CharField(max_length=50)
    seq = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "reader"], name="stream_cursor_once")
        ]

    def __str__(self) -> str:
        return f"{self.reader} of {self.workspace} at {self.seq}"


class WebhookEndpoint(models.Model):
    """An address that is called with the events of a workspace that come after ``after_seq``.

    ``event_types`` is empty for all of them. Calls are signed with ``secret``, and with
    ``old_secret`` too until ``old_secret_until``, by when the receiver has the new one.
    ``failing_since``: no call has arrived since.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=2_000)
    description = models.CharField(max_length=500, blank=True)
    event_types = models.JSONField(default=list, blank=True)
    secret = models.CharField(max_length=100)
    old_secret = models.CharField(max_length=100, blank=True)
    old_secret_until = models.DateTimeField(null=True)
    after_seq = models.BigIntegerField(default=0)
    is_active = models.BooleanField(default=True)
    failing_since = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField()

    objects = InWorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.description or f"Webhook {self.pk}"


class SigningSecret(models.Model):
    """What a workspace signs with where it calls an address that is no endpoint's."""

    workspace = models.OneToOneField(
        Workspace, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    secret = models.CharField(max_length=100)
    old_secret = models.CharField(max_length=100, blank=True)
    old_secret_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"of {self.workspace}"


class WebhookDelivery(models.Model):
    """One event on its way to one address: an endpoint's, or a ``url`` that a request named.

    Without ``event_seq`` it is a test. ``details`` is what its body says besides the event.
    ``due_at`` is when it is tried next; null once it has arrived or is given up.
    """

    STATUSES = [("pending", "Pending"), ("delivered", "Delivered"), ("failed", "Failed")]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, null=True, related_name="deliveries"
    )
    url = models.URLField(max_length=2_000, blank=True)
    event_seq = models.BigIntegerField(null=True)
    event_type = models.CharField(max_length=50)
    details = models.JSONField(null=True)
    replay_of = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, related_name="replays", db_index=False
    )
    status = models.CharField(max_length=10, choices=STATUSES, default="pending")
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)
    response_excerpt = models.TextField(blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    objects = InWorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "event_seq"],
                condition=Q(replay_of__isnull=True),
                name="webhook_delivery_once",
            )
        ]
        indexes = [
            models.Index(fields=["due_at"], name="webhook_due", condition=Q(due_at__isnull=False)),
            models.Index(
                fields=["created_at"], name="webhook_failed", condition=Q(status="failed")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_seq or ''}".strip()
