"""The MCP servers whose tools a workspace lets its agents use."""

from django.db import models

from workflows.core.ids import uuid7
from workflows.models import Workspace
from workflows.querysets import InWorkspaceQuerySet


class ToolServer(models.Model):
    """An MCP server over HTTP. ``secret_env``: the environment variable with its bearer token
    (``MGX_AGENT_SECRETS`` says to which hosts that may go). ``tools``: what it last offered
    (``agents/offers.py``), when it was last asked, and ``last_error`` why it offered nothing then.
    ``due_at``: when it is asked again (``agents/services/tool_reading.py``)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="tool_servers")
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=50)
    url = models.URLField(max_length=2_000)
    secret_env = models.CharField(max_length=200, blank=True, default="")
    is_enabled = models.BooleanField(default=True)
    tools = models.JSONField(default=list, editable=False)
    tools_read_at = models.DateTimeField(null=True, editable=False)
    due_at = models.DateTimeField(null=True, editable=False)
    last_error = models.TextField(blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = InWorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "slug"], name="tool_server_slug_unique_in_workspace"
            )
        ]

    def __str__(self) -> str:
        return self.name
