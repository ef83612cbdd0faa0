"""What agents and their models said, and where a conversation stopped to ask people."""

from django.db import models

from agents.models.definitions import AgentInstance
from workflows.models import Workspace


class MessageRole(models.TextChoices):
    """Who says something, as chat models call them."""

    SYSTEM = "system", "Instructions"
    USER = "user", "Asked"
    ASSISTANT = "assistant", "Answered"
    TOOL = "tool", "Tool"


class AgentMessage(models.Model):
    """One message of what an agent was told and said in an attempt, for people to read.

    ``content`` is bounded, with secrets masked; ``data`` says what else there is to it: the tools
    that are called, the name of the one that answers.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    agent_instance = models.ForeignKey(
        AgentInstance, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    step_execution_id = models.UUIDField()
    attempt = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    role = models.CharField(max_length=20, choices=MessageRole.choices)
    content = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step_execution_id", "attempt", "position"],
                name="message_unique_position",
            )
        ]
        indexes = [
            models.Index(fields=["agent_instance", "-id"], name="message_of_agent"),
            models.Index(fields=["created_at"], name="message_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.position} of {self.step_execution_id}"


class AgentPause(models.Model):
    """Where the agent of a step stopped to ask people; ``id`` is the step execution's.

    ``memo`` is what the backend needs to go on: of a model the conversation.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    agent_instance = models.ForeignKey(AgentInstance, on_delete=models.CASCADE, related_name="+")
    memo = models.JSONField(default=dict)
    paused_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.id} since {self.paused_at}"
