"""What agents have spent, and what people let a workspace spend beyond its budget."""

from django.db import models
from django.db.models import Q

from agents.models.definitions import AgentInstance
from workflows.models import Workspace


class AgentUsage(models.Model):
    """What the attempts of one agent came to that ended on a day (UTC).

    ``cost_micros`` counts millionths of the unit in which the agents' prices are given, and
    ``busy_ms`` how long the attempts took. Days outlive the runs that they tell of.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    agent_instance = models.ForeignKey(
        AgentInstance, on_delete=models.CASCADE, related_name="usage", db_index=False
    )
    day = models.DateField()
    steps = models.BigIntegerField(default=0)
    failures = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    busy_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["agent_instance", "day"], name="usage_unique_day")
        ]
        indexes = [models.Index(fields=["workspace", "day"], name="usage_of_workspace")]

    def __str__(self) -> str:
        return f"{self.agent_instance_id} on {self.day}"


class AgentLoss(models.Model):
    """What was reserved for an attempt that was cut off: its worker died, or it was cancelled.

    Nobody knows what it had spent by then, so a budget counts all of it, in the month of
    ``lost_at``.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    lost_at = models.DateTimeField()
    tokens = models.BigIntegerField()
    cost_micros = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["workspace", "lost_at"], name="loss_of_workspace")]

    def __str__(self) -> str:
        return f"{self.tokens} tokens at {self.lost_at}"


class AgentBudgetAnswer(models.Model):
    """What people answered when a workspace's budget for a month was used up.

    ``step_execution_id`` is the step that asked for all. While ``answered_at`` is null the answer
    is awaited; ``tokens`` and ``cost_micros`` is what was granted besides, nothing if it was
    refused. ``tokens_budget`` and ``cost_budget_micros``: the budget that was used up, null where
    there is none.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    month = models.DateField()
    step_execution_id = models.UUIDField()
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    tokens = models.BigIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    tokens_budget = models.BigIntegerField(null=True)
    cost_budget_micros = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"],
                condition=Q(answered_at__isnull=True),
                name="budget_asked_once_a_workspace",
            )
        ]
        indexes = [models.Index(fields=["workspace", "month"], name="budget_of_month")]

    def __str__(self) -> str:
        return f"{self.workspace_id} in {self.month:%Y-%m}"
