"""Who outside is called when something happens, and each call; and how far readers have read."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from workflows.core.ids import uuid7
from workflows.models.tenants import Workspace


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
    """An address that is called with the events of a workspace, signed with ``secret``.

    ``event_types`` is empty for all of them. ``old_secret`` signs too until the receiver has the
    new one.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=2_000)
    description = models.CharField(max_length=500, blank=True)
    event_types = models.JSONField(default=list, blank=True)
    secret = models.CharField(max_length=100)
    old_secret = models.CharField(max_length=100, blank=True)
    is_active = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(models.Model):
    """One event on its way to one address: an endpoint's, or a ``url`` that a request named.

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
    event_seq = models.BigIntegerField()
    event_type = models.CharField(max_length=50)
    replay_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="replays", db_index=False
    )
    status = models.CharField(max_length=10, choices=STATUSES, default="pending")
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)
    response_excerpt = models.TextField(blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

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
            models.Index(fields=["due_at"], name="webhook_due", condition=Q(due_at__isnull=False))
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_seq} to {self.endpoint or self.url}"
