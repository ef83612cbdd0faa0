"""Agents: definitions and instances that people edit; what MGX keeps about them, to read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agents import messages_admin, tool_servers_admin  # noqa: F401  (they register what is theirs)
from agents.backends.configs import find_wrong_config
from agents.models import (
    AgentDefinition,
    AgentHandoff,
    AgentInstance,
    AgentMemoryEntry,
    AgentReservation,
    AgentStatus,
)
from agents.spending_admin import SpendingColumns, with_spending
from agents.standing import with_standing
from workflows.admin.display import badge, json_block, link_to, link_to_id, related_lists
from workflows.admin.fields import NamesField, StrictJSONField
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin, signed_in
from workflows.models import Role, WorkflowStepExecution

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm


class DefinitionForm(ModelForm):
    capabilities = NamesField(help_text="Words with commas between them.")
    config = StrictJSONField(rows=5, help_text="What the backend needs to know.")
    config_schema = StrictJSONField(rows=5, help_text="JSON Schema of an instance's config.")

    class Meta:
        model = AgentDefinition
        fields = [
            "name",
            "slug",
            "agent_type",
            "description",
            "capabilities",
            "is_enabled",
            "config",
            "config_schema",
        ]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        _refuse_wrong_config(self, self.cleaned_data.get("agent_type", ""), is_whole=False)
        return cleaned


class InstanceForm(ModelForm):
    config = StrictJSONField(rows=5)

    class Meta:
        model = AgentInstance
        fields = [
            "workspace",
            "project",
            "definition",
            "name",
            "slug",
            "config",
            "max_concurrency",
            "is_enabled",
        ]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        project = self.cleaned_data.get("project")
        workspace = self.cleaned_data.get("workspace") or (
            None if self.instance._state.adding else self.instance.workspace
        )
        if project and workspace and project.workspace_id != workspace.pk:
            self.add_error("project", f"This project is not in the workspace {workspace}.")
        if definition := self.cleaned_data.get("definition"):
            beneath = definition.config
            _refuse_wrong_config(self, definition.agent_type, beneath, is_whole=True)
        return cleaned


def _refuse_wrong_config(
    form: ModelForm, agent_type: str, beneath: Mapping[str, Any] = {}, *, is_whole: bool
) -> None:
    """Say what is wrong with the config in a form, put over the one ``beneath`` it."""
    if "config" in form.cleaned_data:
        config = {**beneath, **(form.cleaned_data["config"] or {})}
        for problem in find_wrong_config(agent_type, config, is_whole=is_whole):
            form.add_error("config", problem)


@admin.register(AgentDefinition)
class AgentDefinitionAdmin(ScopedAdmin):
    """What agents can do. All workspaces share it, so only superusers change it."""

    workspace_lookup = ""
    form = DefinitionForm
    list_display = ("name", "slug", "agent_type", "capability_list", "is_enabled", "created_at")
    list_filter = ("agent_type", "is_enabled")
    search_fields = ("name", "slug", "description")
    prepopulated_fields = {"slug": ["name"]}

    def _edits(self, request: HttpRequest, row: Any = None) -> bool:
        return signed_in(request).is_superuser

    @admin.display(description="Capabilities")
    def capability_list(self, definition: AgentDefinition) -> str:
        return ", ".join(map(str, definition.capabilities)) or "–"


class StatusFilter(admin.SimpleListFilter):
    """By the status that is shown, which follows from the places that are taken."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, str(status.label)) for status in AgentStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(shown_status=self.value()) if self.value() else queryset


@admin.register(AgentInstance)
class AgentInstanceAdmin(SpendingColumns, ScopedAdmin):
    """A workspace's own agents. The engine writes status, heartbeat and error."""

    edited_from = Role.EDITOR
    form = InstanceForm
    list_display = (
        "name",
        "workspace",
        "definition",
        "state",
        "places",
        "success",
        "tokens",
        "cost",
        "is_enabled",
        "last_heartbeat",
    )
    list_filter = (WorkspaceFilter, StatusFilter, "is_enabled", "definition")
    list_select_related = ("workspace", "definition")
    search_fields = ("name", "slug", "=id")
    fields = (
        ("workspace", "project"),
        ("definition", "state"),
        ("name", "slug"),
        ("max_concurrency", "is_enabled"),
        "config",
        ("last_heartbeat", "last_error"),
        "performance",
        ("tokens", "cost"),
        "lists",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        agents: QuerySet[Any] = super().get_queryset(request)
        return with_spending(with_standing(agents)).select_related("workspace", "definition")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj:
            return self.fields
        shown = [("workspace", "project"), "definition", ("name", "slug")]
        return [*shown, ("max_concurrency", "is_enabled"), "config"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        told = ["performance", "tokens", "cost", "lists"]
        return ["workspace", "state", "last_heartbeat", "last_error", *told] if obj else []

    @admin.display(description="Status", ordering="shown_status")
    def state(self, agent: Any) -> SafeString:
        return badge(agent.shown_status)

    @admin.display(description="Places taken")
    def places(self, agent: Any) -> str:
        return f"{agent.load} of {agent.max_concurrency}"

    @admin.display(description="See its")
    def lists(self, agent: AgentInstance) -> SafeString | str:
        return related_lists(agent, self.admin_site)


@admin.register(AgentReservation)
class AgentReservationAdmin(ScopedAdmin):
    """Which agent holds a place for which attempt, and why it was chosen."""

    list_display = (
        "__str__",
        "workspace",
        "agent_instance",
        "of_step",
        "attempt",
        "reserved_at",
        "released_at",
        "outcome",
        "input_tokens",
        "output_tokens",
    )
    list_filter = (WorkspaceFilter, "reserved_at")
    list_select_related = ("workspace", "agent_instance")
    large = ("reason",)
    search_fields = ("=step_execution_id", "agent_instance__name")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        ("workspace", "agent_instance"),
        ("of_step", "attempt"),
        ("reserved_at", "expires_at", "released_at"),
        "outcome",
        ("input_tokens", "output_tokens", "cost_micros"),
        ("tokens_reserved", "cost_reserved_micros"),
        "why",
        "id",
    )

    @admin.display(description="Step")
    def of_step(self, reservation: AgentReservation) -> SafeString | str:
        return link_to_id(WorkflowStepExecution, reservation.step_execution_id, "Step")

    @admin.display(description="Why this agent")
    def why(self, reservation: AgentReservation) -> SafeString | str:
        return json_block(reservation.reason)


@admin.register(AgentMemoryEntry)
class AgentMemoryEntryAdmin(ScopedAdmin):
    """What agents remember."""

    list_display = (
        "memory_key",
        "workspace",
        "agent_instance",
        "size_bytes",
        "used_at",
        "expires_at",
    )
    list_filter = (WorkspaceFilter, "updated_at")
    list_select_related = ("workspace", "agent_instance")
    large = ("memory_data",)
    search_fields = ("memory_key", "agent_instance__name")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        "memory_key",
        ("workspace", "agent"),
        ("size_bytes", "threaded_from"),
        ("created_at", "updated_at", "used_at", "expires_at"),
        "data",
        "notes",
        "id",
    )

    @admin.display(description="Agent")
    def agent(self, entry: AgentMemoryEntry) -> SafeString | str:
        return link_to(entry.agent_instance)

    @admin.display(description="Data")
    def data(self, entry: AgentMemoryEntry) -> SafeString | str:
        return json_block(entry.memory_data)

    @admin.display(description="Metadata")
    def notes(self, entry: AgentMemoryEntry) -> SafeString | str:
        return json_block(entry.metadata)


@admin.register(AgentHandoff)
class AgentHandoffAdmin(ScopedAdmin):
    """What one agent handed to another."""

    list_display = ("created_at", "workspace", "from_agent", "to_agent", "hops")
    list_filter = (WorkspaceFilter, "created_at")
    list_select_related = ("workspace", "from_agent", "to_agent")
    large = ("context",)
    search_fields = ("from_agent__name", "to_agent__name", "=step_execution_id")
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        ("from_agent", "to_agent", "hops"),
        ("workspace", "created_at"),
        "of_step",
        "parent",
        "context_keys",
        "handed",
        "id",
    )

    @admin.display(description="Step")
    def of_step(self, handoff: AgentHandoff) -> SafeString | str:
        return link_to_id(WorkflowStepExecution, handoff.step_execution_id, "Step")

    @admin.display(description="Context")
    def handed(self, handoff: AgentHandoff) -> SafeString | str:
        return json_block(handoff.context)
