"""What an agent can do, and a workspace's own copy of it."""

from django.core.validators import MinValueValidator
from django.db import models

from agents.querysets import AgentInstanceQuerySet
from workflows.core.ids import uuid7
from workflows.models import Project, Workspace


class AgentType(models.TextChoices):
    """The backend that runs an agent (``agents/backends``)."""

    PYTHON = "python", "Python callable"
    DEMO = "demo", "Demo"
    HTTP = "http", "HTTP service"
    LLM = "llm", "Language model"


class AgentStatus(models.TextChoices):
    IDLE = "idle", "Idle"
    INITIALIZING = "initializing", "Initializing"
    ACTIVE = "active", "Active"
    BUSY = "busy", "Busy"
    ERROR = "error", "Error"
    OFFLINE = "offline", "Offline"


class AgentDefinition(models.Model):
    """What an agent can do; shared by all workspaces."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=100, unique=True)
    agent_type = models.CharField(max_length=20, choices=AgentType.choices)
    description = models.TextField(blank=True)
    capabilities = models.JSONField(default=list, blank=True)
    config_schema = models.JSONField(default=dict, blank=True)
    config = models.JSONField(default=dict, blank=True)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class AgentInstance(models.Model):
    """A workspace's own copy of a definition, with its limits and its state.

    ``status`` never says ``active`` or ``busy``: those follow from the places that are taken
    (``agents/standing.py``), and ``agents/services/statuses.py`` has the legal moves of the others.
    ``is_silent``: it is offline because nothing was heard of it, and comes back by itself when it
    is (``agents/services/heartbeats.py``); ``last_heartbeat``: when it last showed that it lives.
    ``faults`` counts how often it failed by its own fault since it last succeeded, and ``probe_at``
    is when it may be tried as before (``agents/services/circuit.py``).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="agents")
    project = models.ForeignKey(
        Project, on_delete=models.SET_NULL, null=True, blank=True, related_name="agents"
    )
    definition = models.ForeignKey(
        AgentDefinition, on_delete=models.PROTECT, related_name="instances"
    )
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=100)
    status = models.CharField(max_length=20, choices=AgentStatus.choices, default=AgentStatus.IDLE)
    config = models.JSONField(default=dict, blank=True)
    max_concurrency = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    is_enabled = models.BooleanField(default=True)
    last_heartbeat = models.DateTimeField(null=True, editable=False)
    is_silent = models.BooleanField(default=False, db_default=False, editable=False)
    last_error = models.TextField(blank=True, editable=False)
    faults = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    probe_at = models.DateTimeField(null=True, editable=False)
    last_assigned_at = models.DateTimeField(null=True, editable=False)
    memory_version = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AgentInstanceQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "slug"], name="agent_slug_unique_in_workspace"
            ),
            models.CheckConstraint(
                condition=models.Q(max_concurrency__gte=1), name="agent_concurrency_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.name
