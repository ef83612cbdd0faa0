"""Where: workspaces, their members, and projects."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, find_workspace, get_visible
from workflows.api.filters import InWorkspaceFilter, filters
from workflows.models import Membership, Project, Workspace


class WorkspaceSerializer(serializers.ModelSerializer[Workspace]):
    """A workspace."""

    class Meta:
        model = Workspace
        fields = ["id", "name", "slug", "created_at"]


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """A member of a workspace."""

    username = serializers.CharField(source="user.username")
    first_name = serializers.CharField(source="user.first_name")
    last_name = serializers.CharField(source="user.last_name")
    is_active = serializers.BooleanField(source="user.is_active")

    class Meta:
        model = Membership
        fields = ["username", "first_name", "last_name", "role", "is_active", "created_at"]


class ProjectSerializer(serializers.ModelSerializer[Project]):
    """A subdivision of a workspace."""

    workspace = serializers.CharField(source="workspace.slug")

    class Meta:
        model = Project
        fields = ["id", "workspace", "workspace_id", "name", "slug", "created_at"]


class WorkspaceFilter(filters.FilterSet):  # type: ignore[misc]
    """``q`` looks into names."""

    q = filters.CharFilter(field_name="name", lookup_expr="icontains", max_length=200)


class Workspaces(ApiView):
    serializer_class = WorkspaceSerializer
    queryset = Workspace.objects.all()
    filterset_class = WorkspaceFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """The workspaces that the caller is a member of."""
        return self.answer_page(Workspace.objects.visible_to(caller(request)))


class OneWorkspace(ApiView):
    serializer_class = WorkspaceSerializer
    queryset = Workspace.objects.all()

    def get(self, request: Request, slug: str) -> Response:
        """One workspace of the caller."""
        return Response(self.get_serializer(find_workspace(caller(request), slug)).data)


class Members(ApiView):
    serializer_class = MemberSerializer
    queryset = Membership.objects.all()
    orderings = {"created_at": "created_at", "role": "role"}

    def get(self, request: Request, slug: str) -> Response:
        """Who is a member of a workspace, with which role."""
        workspace = find_workspace(caller(request), slug)
        return self.answer_page(
            Membership.objects.filter(workspace=workspace).select_related("user")
        )


class ProjectFilter(InWorkspaceFilter):
    """``q`` looks into names."""

    search_fields = ("name",)


class Projects(ApiView):
    serializer_class = ProjectSerializer
    queryset = Project.objects.all()
    filterset_class = ProjectFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """The projects of the caller's workspaces."""
        return self.answer_page(_visible_projects(request))


class OneProject(ApiView):
    serializer_class = ProjectSerializer
    queryset = Project.objects.all()

    def get(self, request: Request, id: Any) -> Response:
        """One project."""
        return Response(self.get_serializer(get_visible(_visible_projects(request), pk=id)).data)


def _visible_projects(request: Request) -> Any:
    workspaces = Workspace.objects.visible_to(caller(request))
    return Project.objects.filter(workspace__in=workspaces).select_related("workspace")
