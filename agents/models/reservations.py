"""Which agent holds a place for which attempt of which step, and why it was chosen."""

from django.db import models
from django.db.models import Q

from agents.models.definitions import AgentInstance
from workflows.core.ids import uuid7
from workflows.models import Workspace


class AgentReservation(models.Model):
    """A place at an agent. Active until ``released_at``, or until ``expires_at`` has passed.

    Load is counted from these rows, never kept in a counter. ``reason`` records the strategy,
    the candidates with their scores, and who was refused for what.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    agent_instance = models.ForeignKey(
        AgentInstance, on_delete=models.CASCADE, related_name="reservations", db_index=False
    )
    step_execution_id = models.UUIDField()
    attempt = models.PositiveIntegerField()
    reason = models.JSONField(default=dict)
    reserved_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step_execution_id", "attempt"], name="reservation_unique_attempt"
            )
        ]
        indexes = [
            models.Index(
                fields=["agent_instance", "expires_at"],
                name="reservation_active",
                condition=Q(released_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.agent_instance_id} for {self.step_execution_id}"
