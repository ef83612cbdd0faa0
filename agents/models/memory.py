"""What agents remember, and what one handed to another."""

from django.db import models

from agents.models.definitions import AgentInstance
from workflows.core.ids import uuid7
from workflows.models import Workspace


class AgentMemoryEntry(models.Model):
    """One entry: its identity is (workspace, agent, key).

    ``size_bytes`` counts the canonical UTF-8 JSON of ``memory_data``; ``used_at`` is moved by
    reads too, and the one longest unused is evicted first.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    agent_instance = models.ForeignKey(
        AgentInstance, on_delete=models.CASCADE, related_name="memory", db_index=False
    )
    memory_key = models.CharField(max_length=255)
    memory_data = models.JSONField()
    metadata = models.JSONField(default=dict, blank=True)
    size_bytes = models.PositiveIntegerField()
    threaded_from = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    used_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "agent_instance", "memory_key"],
                name="memory_key_unique_to_agent",
            )
        ]
        indexes = [
            models.Index(fields=["agent_instance", "used_at"], name="memory_by_use"),
            models.Index(fields=["agent_instance", "updated_at"], name="memory_by_age"),
            models.Index(fields=["agent_instance", "expires_at"], name="memory_by_expiry"),
        ]

    def __str__(self) -> str:
        return self.memory_key


class AgentMemory(models.Model):
    """What an agent's memory comes to; whoever writes to it locks this row first.

    ``version`` counts the writes. What has expired and is not swept yet is counted too. It is no
    part of ``AgentInstance``, which people save as a whole. ``past_size_bytes``: what the values
    that it remembered before take, as ``agents/memory/past.py`` counts them.
    """

    agent_instance = models.OneToOneField(
        AgentInstance, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    version = models.BigIntegerField(default=0)
    total_entries = models.BigIntegerField(default=0)
    total_size_bytes = models.BigIntegerField(default=0)
    evictions = models.BigIntegerField(default=0)
    hits = models.BigIntegerField(default=0)
    misses = models.BigIntegerField(default=0)
    past_size_bytes = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        verbose_name_plural = "agent memories"

    def __str__(self) -> str:
        return str(self.agent_instance_id)


class AgentMemoryText(models.Model):
    """The words by which an entry is found: an index over them is made by a migration."""

    id = models.BigAutoField(primary_key=True)
    entry = models.OneToOneField(AgentMemoryEntry, on_delete=models.CASCADE, related_name="+")
    words = models.TextField()

    def __str__(self) -> str:
        return str(self.entry_id)


class MemoryChange(models.TextChoices):
    """What became of a value that an agent had kept."""

    REPLACED = "replaced", "Replaced"
    CLEARED = "cleared", "Cleared"
    EVICTED = "evicted", "Evicted"
    EXPIRED = "expired", "Expired"


class AgentMemoryPast(models.Model):
    """A value that an agent remembered before: until when, and what became of it.

    What it remembers now is no part of it. ``actor`` is who changed it, as in events. Erasing
    leaves nothing of it behind.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    agent_instance = models.ForeignKey(
        AgentInstance, on_delete=models.CASCADE, related_name="memory_past", db_index=False
    )
    memory_key = models.CharField(max_length=255)
    memory_data = models.JSONField()
    metadata = models.JSONField(default=dict, blank=True)
    size_bytes = models.PositiveIntegerField()
    threaded_from = models.UUIDField(null=True)
    written_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    change = models.CharField(max_length=20, choices=MemoryChange.choices)
    actor = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        indexes = [
            models.Index(
                fields=["agent_instance", "memory_key", "-ended_at"], name="memory_past_of_key"
            ),
            models.Index(fields=["agent_instance", "ended_at"], name="memory_past_of_agent"),
        ]

    def __str__(self) -> str:
        return f"{self.memory_key} until {self.ended_at}"


class AgentHandoff(models.Model):
    """One transfer of context from an agent to another; ``parent`` is the one it continues."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    from_agent = models.ForeignKey(
        AgentInstance, on_delete=models.CASCADE, related_name="handoffs_given"
    )
    to_agent = models.ForeignKey(
        AgentInstance, on_delete=models.CASCADE, related_name="handoffs_taken"
    )
    step_execution_id = models.UUIDField(null=True)
    context = models.JSONField(default=dict)
    context_keys = models.JSONField(default=list)
    handoff_metadata = models.JSONField(default=dict)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")
    hops = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(from_agent=models.F("to_agent")),
                name="handoff_to_somebody_else",
            )
        ]

    def __str__(self) -> str:
        return f"{self.from_agent_id} to {self.to_agent_id}"
