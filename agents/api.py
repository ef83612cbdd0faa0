"""Agents: what there is, and what each workspace has of it."""

from typing import Any

from django.db.models import Count, Q
from django.db.models.functions import Now
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import AgentDefinition, AgentInstance, AgentStatus, AgentType
from workflows.api.base import ApiView, caller, get_visible
from workflows.api.filters import Choices, InProjectFilter, filters


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
    """A workspace's own copy of a definition. ``load``: the steps that hold a place with it."""

    workspace = serializers.CharField(source="workspace.slug")
    project = serializers.CharField(source="project.slug", allow_null=True, default=None)
    definition = serializers.CharField(source="definition.slug")
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


class AgentDefinitionFilter(filters.FilterSet):  # type: ignore[misc]
    """``q`` looks into names."""

    q = filters.CharFilter(field_name="name", lookup_expr="icontains", max_length=200)
    agent_type = Choices(choices=AgentType.choices)


class AgentFilter(InProjectFilter):
    """``definition``: its slug."""

    search_fields = ("name", "slug")

    status = Choices(choices=AgentStatus.choices)
    definition = filters.CharFilter(field_name="definition__slug", max_length=100)


class AgentDefinitions(ApiView):
    serializer_class = AgentDefinitionSerializer
    queryset = AgentDefinition.objects.all()
    filterset_class = AgentDefinitionFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """What agents can do; all workspaces share these."""
        return self.answer_page(AgentDefinition.objects.all())


class OneAgentDefinition(ApiView):
    serializer_class = AgentDefinitionSerializer
    queryset = AgentDefinition.objects.all()

    def get(self, request: Request, id: Any) -> Response:
        """One definition of an agent."""
        return Response(self.get_serializer(get_visible(self.get_queryset(), pk=id)).data)


class Agents(ApiView):
    serializer_class = AgentSerializer
    queryset = AgentInstance.objects.all()
    filterset_class = AgentFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """The agents of the caller's workspaces."""
        return self.answer_page(visible_agents(request))


class OneAgent(ApiView):
    serializer_class = AgentSerializer
    queryset = AgentInstance.objects.all()

    def get(self, request: Request, id: Any) -> Response:
        """One agent."""
        return Response(self.get_serializer(get_visible(visible_agents(request), pk=id)).data)


def visible_agents(request: Request) -> Any:
    """Return the agents that the caller sees, with their load."""
    held = Q(reservations__released_at__isnull=True, reservations__expires_at__gt=Now())
    return (
        AgentInstance.objects.visible_to(caller(request))
        .annotate(load=Count("reservations", filter=held))
        .select_related("workspace", "project", "definition")
    )
