"""Tool servers in the admin: edited through the service, and asked anew what they offer."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agents.masking import text_without_secrets
from agents.models import ToolServer
from agents.services import tool_servers
from workflows.admin.display import json_block
from workflows.admin.filters import WorkspaceFilter
from workflows.admin.scope import signed_in
from workflows.admin.service_forms import ServiceAdmin, ServiceForm
from workflows.errors import MgxError
from workflows.models import Role
from workflows.services.webhooks import MAX_URL


class ToolServerForm(ServiceForm):
    """A tool server."""

    url = forms.CharField(
        label="Address",
        max_length=MAX_URL,
        widget=forms.URLInput(attrs={"class": "vURLField"}),
    )
    secret_env = forms.CharField(
        label="Secret",
        max_length=200,
        required=False,
        help_text="The variable of the environment with its bearer token, which "
        "MGX_AGENT_SECRETS has to mean for its host.",
    )

    class Meta:
        model = ToolServer
        fields = ["workspace", "name", "slug", "url", "secret_env", "is_enabled"]

    def call_service(self) -> ToolServer:
        names = ("name", "slug", "url", "secret_env", "is_enabled")
        given = {name: self.cleaned_data[name] for name in names}
        if self.instance._state.adding:
            workspace = self.cleaned_data["workspace"]
            return tool_servers.create_tool_server(workspace, user=self.user, **given)
        changes = {name: value for name, value in given.items() if name in self.changed_data}
        return tool_servers.change_tool_server(self.instance.pk, user=self.user, **changes)


@admin.register(ToolServer)
class ToolServerAdmin(ServiceAdmin):
    """MCP servers whose tools a workspace's agents may use."""

    edited_from = Role.EDITOR
    form = ToolServerForm
    list_display = ("name", "workspace", "slug", "is_enabled", "tools_read_at", "fault")
    large = ("tools",)
    list_filter = (WorkspaceFilter, "is_enabled")
    list_select_related = ("workspace",)
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ["name"]}
    actions = ("read_tools",)
    readonly_fields = ("tools_read_at", "fault", "described")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        own = ("workspace", ("name", "slug"), "url", "secret_env", "is_enabled")
        return (*own, "tools_read_at", "fault", "described") if obj else own

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, "workspace") if obj else ()

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else self.prepopulated_fields

    def delete_model(self, request: HttpRequest, obj: ToolServer) -> None:
        tool_servers.delete_tool_server(obj.pk, user=signed_in(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for server in queryset:
            tool_servers.delete_tool_server(server.pk, user=signed_in(request))

    def has_edit_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the person is an editor: what actions with this permission ask."""
        return self.may(request, Role.EDITOR, obj)

    @admin.action(description="Read its tools", permissions=["edit"])
    def read_tools(self, request: HttpRequest, queryset: QuerySet[ToolServer]) -> None:
        for server in queryset:
            try:
                tool_servers.read_tools(server.pk, user=signed_in(request))
            except MgxError as error:
                self.tell_refusal(request, error, str(server))
            else:
                text = f"{server}: it is being asked what it offers."
                self.message_user(request, text, messages.SUCCESS)

    @admin.display(description="Last error")
    def fault(self, server: ToolServer) -> str:
        return text_without_secrets(server.last_error) or "–"

    @admin.display(description="What it offers")
    def described(self, server: ToolServer) -> SafeString | str:
        return json_block(server.tools)
