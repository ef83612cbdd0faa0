"""What the engine keeps about itself: its drivers, and what is due when."""

from django.db import models

from workflows.core.ids import uuid7
from workflows.models.tenants import Workspace


class EngineDriver(models.Model):
    """One driver: the part of a worker process that runs executions.

    ``process`` names the process for those on the same machine (``leases.process_key``).
    It lives as long as ``heartbeat_at`` is recent. ``fenced_at`` is set by whoever took its
    executions away; from then on it cannot write, even if it was only asleep.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    process = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    fenced_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["heartbeat_at"],
                name="driver_live",
                condition=models.Q(fenced_at__isnull=True, stopped_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Timer(models.Model):
    """Something to do at a moment of the database's clock, once.

    ``kind`` names the function in ``settings.TIMER_HANDLERS``, ``subject_id`` what it is about.
    Firing deletes the row in the transaction of the effect.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=50)
    subject_id = models.UUIDField()
    due_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subject_id", "kind"], name="timer_unique_subject")
        ]
        indexes = [models.Index(fields=["due_at"], name="timer_due")]

    def __str__(self) -> str:
        return f"{self.kind} at {self.due_at:%Y-%m-%d %H:%M:%S}"
