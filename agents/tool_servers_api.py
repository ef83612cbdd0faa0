"""The MCP servers whose tools a workspace's agents may use, over REST: editors say which."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from agents.masking import text_without_secrets
from agents.models import ToolServer
from agents.services import tool_servers
from workflows.api.base import ApiView, caller, find_workspace, get_visible
from workflows.api.fields import FlagField, StrictSerializer, TextField, read_input
from workflows.api.filters import InWorkspaceFilter, filters
from workflows.api.idempotency import idempotent
from workflows.services.webhooks import MAX_URL


class ToolServerSummarySerializer(serializers.ModelSerializer[ToolServer]):
    """A tool server. ``tool_names``: what it offers, as an agent's ``tools`` name it.
    ``tools_read_at``: when it was last asked, with ``last_error`` if it did not answer then."""

    workspace = serializers.CharField(source="workspace.slug")
    url = serializers.SerializerMethodField()
    tool_names = serializers.SerializerMethodField()

    class Meta:
        model = ToolServer
        fields = [
            "id",
            "workspace",
            "workspace_id",
            "name",
            "slug",
            "url",
            "secret_env",
            "is_enabled",
            "tool_names",
            "tools_read_at",
            "last_error",
            "created_at",
        ]

    def get_url(self, server: ToolServer) -> str:
        return text_without_secrets(server.url)

    def get_tool_names(self, server: ToolServer) -> list[str]:
        return [f"{server.slug}/{tool['name']}" for tool in server.tools]


class OfferedToolSerializer(serializers.Serializer[Any]):
    """A tool as its server describes it, which nobody here has checked."""

    name = serializers.CharField()
    description = serializers.CharField()
    input_schema = serializers.DictField(help_text="The JSON Schema of its arguments")


class ToolServerSerializer(ToolServerSummarySerializer):
    """A tool server with the tools that it offers."""

    tools = OfferedToolSerializer(many=True)

    class Meta(ToolServerSummarySerializer.Meta):
        fields = [*ToolServerSummarySerializer.Meta.fields, "tools"]


class ToolServerPatch(StrictSerializer):
    """What of a tool server is to be changed. ``secret_env``: the name of the variable with its
    bearer token, which ``MGX_AGENT_SECRETS`` has to mean for its host."""

    name = TextField(max_length=200, required=False)
    slug = serializers.SlugField(max_length=50, required=False)
    url = TextField(max_length=MAX_URL, required=False)
    secret_env = TextField(max_length=200, required=False, allow_blank=True)
    is_enabled = FlagField(required=False)


class ToolServerRequest(ToolServerPatch):
    """A new tool server. ``workspace``: the slug."""

    name = TextField(max_length=200)
    url = TextField(max_length=MAX_URL)
    workspace = TextField(required=False, max_length=100)


class ToolServerFilter(InWorkspaceFilter):
    """``q`` looks into names."""

    search_fields = ("name", "slug")

    is_enabled = filters.BooleanFilter()


class ToolServers(ApiView):
    serializer_class = ToolServerSummarySerializer
    queryset = ToolServer.objects.all()
    filterset_class = ToolServerFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """The tool servers of the caller's workspaces."""
        return self.answer_page(_visible(request))

    @extend_schema(request=ToolServerRequest, responses={201: ToolServerSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Let agents use an MCP server over HTTP. What it offers is there a moment later."""
        given = read_input(ToolServerRequest, request.data)
        workspace = find_workspace(caller(request), given.pop("workspace", None))
        made = tool_servers.create_tool_server(workspace, user=caller(request), **given)
        location = request.build_absolute_uri(f"/api/v1/tool-servers/{made.pk}/")
        answer = _answer(request, made.pk, status.HTTP_201_CREATED)
        answer["Location"] = location
        return answer


class OneToolServer(ApiView):
    serializer_class = ToolServerSerializer
    queryset = ToolServer.objects.all()

    @extend_schema(operation_id="tool_servers_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """One tool server."""
        return _answer(request, id)

    @extend_schema(request=ToolServerPatch, operation_id="tool_servers_change")
    def patch(self, request: Request, id: Any) -> Response:
        """Change what is given, and have the server asked anew what it offers."""
        given = read_input(ToolServerPatch, request.data)
        tool_servers.change_tool_server(id, user=caller(request), **given)
        return _answer(request, id)

    @extend_schema(responses={204: None}, operation_id="tool_servers_delete")
    def delete(self, request: Request, id: Any) -> Response:
        """Let agents use a tool server no more."""
        tool_servers.delete_tool_server(id, user=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ToolReading(ApiView):
    serializer_class = ToolServerSerializer
    queryset = ToolServer.objects.all()

    @extend_schema(request=None, responses={202: ToolServerSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Have a tool server asked now what it offers; ``tools_read_at`` moves once it was."""
        read_input(StrictSerializer, request.data)
        tool_servers.read_tools(id, user=caller(request))
        return _answer(request, id, status.HTTP_202_ACCEPTED)


def _visible(request: Request) -> Any:
    return ToolServer.objects.visible_to(caller(request)).select_related("workspace")


def _answer(request: Request, id: Any, code: int = status.HTTP_200_OK) -> Response:
    found = get_visible(_visible(request), pk=id)
    return Response(ToolServerSerializer(found).data, status=code)
