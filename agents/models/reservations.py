"""Which agent holds a place for which attempt of which step, and why it was chosen."""

from django.db import models
from django.db.models import Q

from agents.models.definitions import AgentInstance
from workflows.core.ids import uuid7
from workflows.models import Workspace


class AgentReservation(models.Model):
    """A place at an agent. Active until ``released_at``, or until ``expires_at`` has passed.

    Load is counted from these rows, never kept in a counter. ``reason`` records the strategy,
    how many places the agent had, the candidates with their scores, and who was refused for what.
    ``outcome``: what the attempt came to, ``completed``, ``failed``, ``asked``, where it goes on
    once people have answered, or ``moved``, where another agent took over. ``tokens_reserved`` and
    ``cost_reserved_micros`` is what it may spend, where the workspace has a budget, and the others
    what it has spent.
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
    tokens_reserved = models.BigIntegerField(default=0, db_default=0)
    cost_reserved_micros = models.BigIntegerField(default=0, db_default=0)
    input_tokens = models.BigIntegerField(default=0, db_default=0)
    output_tokens = models.BigIntegerField(default=0, db_default=0)
    cost_micros = models.BigIntegerField(default=0, db_default=0)

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
            ),
            models.Index(
                fields=["workspace", "expires_at"],
                name="reservation_of_workspace",
                condition=Q(released_at__isnull=True),
            ),
            models.Index(fields=["agent_instance", "-reserved_at"], name="reservation_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.agent_instance_id} for {self.step_execution_id}"


class AgentWait(models.Model):
    """A step that waits for an agent, and since when; ``id`` is the step execution's.

    It is renewed (``asked_at``) whenever the step asks again, and counts for nothing once it is
    not. ``agents``: the ids of those that could take the step.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    agents = models.JSONField(default=list)
    since = models.DateTimeField()
    asked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.id} since {self.since}"
