"""What agents were told and said, in the admin: to read."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from agents.models import AgentMessage
from workflows.admin.display import json_block, link_to_id
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin
from workflows.models import WorkflowStepExecution


@admin.register(AgentMessage)
class AgentMessageAdmin(ScopedAdmin):
    """What an agent was told or said in an attempt; nobody has checked any of it."""

    list_display = (
        "created_at",
        "workspace",
        "agent_instance",
        "of_step",
        "attempt",
        "position",
        "role",
    )
    list_filter = (WorkspaceFilter, "role", "created_at")
    list_select_related = ("workspace", "agent_instance")
    large = ("content", "data")
    search_fields = ("=step_execution_id", "agent_instance__name")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        ("workspace", "agent_instance"),
        ("of_step", "attempt", "position"),
        ("role", "created_at"),
        "content",
        "more",
        "id",
    )

    @admin.display(description="Step")
    def of_step(self, message: AgentMessage) -> SafeString | str:
        return link_to_id(WorkflowStepExecution, message.step_execution_id, "Step")

    @admin.display(description="More of it")
    def more(self, message: Any) -> SafeString | str:
        return json_block(message.data)
