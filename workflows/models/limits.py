"""How much may run at once."""

from django.db import models

from workflows.core.ids import uuid7
from workflows.models.tenants import Workspace


class QueueLimit(models.Model):
    """How many steps of a queue run at once in a workspace; the queue "" is all of its steps."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="queue_limits", db_index=False
    )
    queue = models.CharField(max_length=200, blank=True)
    max_running = models.PositiveIntegerField()

    class Meta:
        ordering = ["queue"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "queue"], name="queue_limit_unique_in_workspace"
            )
        ]

    def __str__(self) -> str:
        return f"{self.queue or 'all steps'}: {self.max_running}"


class QueueSlot(models.Model):
    """A step that was counted against a limit as it began; it holds its place while it runs.

    ``id`` is that of the step execution. A slot whose step no longer runs counts for nothing.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    queue = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return self.queue
