"""Agents: what there is, and what each workspace has of it."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import AgentDefinition, AgentInstance, AgentStatus, AgentType
from agents.services import instances
from agents.standing import with_standing
from workflows.api.base import ApiView, caller, find_workspace, get_visible
from workflows.api.fields import (
    FlagField,
    ObjectField,
    StrictSerializer,
    TextField,
    WholeField,
    read_input,
)
from workflows.api.filters import Choices, InProjectFilter, filters
from workflows.api.idempotency import idempotent


class AgentDefinitionSerializer(serializers.ModelSerializer[AgentDefinition]):
    """What an agent can do."""

    capabilities = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = AgentDefinition
        fields = [
            "id",
            "name",
            "slug",
            "agent_type",
            "description",
            "capabilities",
            "config_schema",
            "is_enabled",
            "created_at",
        ]


class AgentSerializer(serializers.ModelSerializer[AgentInstance]):
    """A workspace's own copy of a definition. ``load``: the steps that hold a place with it;
    ``status``: ``active`` while it has a place left besides those, ``busy`` when it has none."""

    workspace = serializers.CharField(source="workspace.slug")
    project = serializers.CharField(source="project.slug", allow_null=True, default=None)
    definition = serializers.CharField(source="definition.slug")
    status = serializers.ChoiceField(choices=AgentStatus.choices, source="shown_status")
    load = serializers.IntegerField()

    class Meta:
        model = AgentInstance
        fields = [
            "id",
            "workspace",
            "workspace_id",
            "project",
            "project_id",
            "definition",
            "name",
            "slug",
            "status",
            "is_enabled",
            "max_concurrency",
            "load",
            "last_heartbeat",
            "last_error",
            "created_at",
        ]


class DefinitionChange(StrictSerializer):
    """What a definition says. ``config_schema``: the JSON Schema of its instances' configs."""

    name = TextField(max_length=200)
    slug = serializers.SlugField(max_length=100, required=False)
    agent_type = serializers.ChoiceField(choices=AgentType.choices)
    description = TextField(required=False, allow_blank=True, max_length=10_000)
    capabilities = serializers.ListField(
        child=TextField(max_length=200), required=False, max_length=1_000
    )
    config = ObjectField(required=False)
    config_schema = ObjectField(required=False)
    is_enabled = FlagField(required=False)


class DefinitionPatch(DefinitionChange):
    """What of a definition is to be changed."""

    name = TextField(max_length=200, required=False)
    agent_type = serializers.ChoiceField(choices=AgentType.choices, required=False)


class AgentPatch(StrictSerializer):
    """What of an agent is to be changed. ``config`` is put over that of its definition."""

    name = TextField(max_length=200, required=False)
    slug = serializers.SlugField(max_length=100, required=False)
    project_id = serializers.UUIDField(required=False, allow_null=True)
    config = ObjectField(required=False)
    max_concurrency = WholeField(required=False, min_value=1, max_value=1_000_000)


class AgentRequest(AgentPatch):
    """A new agent. ``definition``: its id or slug; ``workspace``: the slug."""

    name = TextField(max_length=200)
    definition = TextField(max_length=100)
    workspace = TextField(required=False, max_length=100)


class AgentDefinitionFilter(filters.FilterSet):  # type: ignore[misc]
    """``q`` looks into names."""

    q = filters.CharFilter(field_name="name", lookup_expr="icontains", max_length=200)
    agent_type = Choices(choices=AgentType.choices)


class AgentFilter(InProjectFilter):
    """``definition``: its slug."""

    search_fields = ("name", "slug")

    status = Choices(field_name="shown_status", choices=AgentStatus.choices)
    definition = filters.CharFilter(field_name="definition__slug", max_length=100)


class AgentDefinitions(ApiView):
    serializer_class = AgentDefinitionSerializer
    queryset = AgentDefinition.objects.all()
    filterset_class = AgentDefinitionFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """What agents can do; all workspaces share these."""
        return self.answer_page(AgentDefinition.objects.all())

    @extend_schema(request=DefinitionChange, responses={201: AgentDefinitionSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Define an agent. All workspaces share it, so only superusers do. 409 ``slug_taken``."""
        given = read_input(DefinitionChange, request.data)
        made = instances.create_definition(user=caller(request), **given)
        location = request.build_absolute_uri(f"/api/v1/agent-definitions/{made.pk}/")
        shown = self.get_serializer(made).data
        return Response(shown, status=status.HTTP_201_CREATED, headers={"Location": location})


class OneAgentDefinition(ApiView):
    serializer_class = AgentDefinitionSerializer
    queryset = AgentDefinition.objects.all()

    def get(self, request: Request, id: Any) -> Response:
        """One definition of an agent."""
        return Response(self.get_serializer(get_visible(self.get_queryset(), pk=id)).data)

    @extend_schema(request=DefinitionPatch)
    def patch(self, request: Request, id: Any) -> Response:
        """Change what is given of a definition."""
        given = read_input(DefinitionPatch, request.data)
        changed = instances.change_definition(id, user=caller(request), **given)
        return Response(self.get_serializer(changed).data)


class Agents(ApiView):
    serializer_class = AgentSerializer
    queryset = AgentInstance.objects.all()
    filterset_class = AgentFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """The agents of the caller's workspaces."""
        return self.answer_page(visible_agents(request))

    @extend_schema(request=AgentRequest, responses={201: AgentSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Give a workspace an agent of its own. 409 ``slug_taken``."""
        given = read_input(AgentRequest, request.data)
        workspace = find_workspace(caller(request), given.pop("workspace", None))
        made = instances.create_agent(workspace, user=caller(request), **given)
        location = request.build_absolute_uri(f"/api/v1/agents/{made.pk}/")
        shown = self.get_serializer(get_visible(visible_agents(request), pk=made.pk)).data
        return Response(shown, status=status.HTTP_201_CREATED, headers={"Location": location})


class OneAgent(ApiView):
    serializer_class = AgentSerializer
    queryset = AgentInstance.objects.all()

    def get(self, request: Request, id: Any) -> Response:
        """One agent."""
        return Response(self.get_serializer(get_visible(visible_agents(request), pk=id)).data)

    @extend_schema(request=AgentPatch)
    def patch(self, request: Request, id: Any) -> Response:
        """Change what is given of an agent; ``activate/`` and its like switch it."""
        agent = get_visible(visible_agents(request), pk=id)
        given = read_input(AgentPatch, request.data)
        instances.change_agent(agent.pk, user=caller(request), **given)
        return Response(self.get_serializer(get_visible(visible_agents(request), pk=id)).data)


def visible_agents(request: Request) -> Any:
    """Return the agents that the caller sees, with their load and status."""
    visible = AgentInstance.objects.visible_to(caller(request))
    return with_standing(visible).select_related("workspace", "project", "definition")
