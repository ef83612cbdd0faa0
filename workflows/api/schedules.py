"""Schedules: workflows that start by the clock."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, as_uuid, caller, find_workspace, get_visible
from workflows.api.fields import FlagField, ObjectField, StrictSerializer, TextField, read_input
from workflows.api.filters import InWorkspaceFilter, filters
from workflows.api.idempotency import idempotent
from workflows.errors import NotVisible
from workflows.models import User, Workflow, WorkflowSchedule
from workflows.services import schedules


class ScheduleSerializer(serializers.ModelSerializer[WorkflowSchedule]):
    """A schedule. ``next_at``: when it starts the next run; ``created_by``: in whose name."""

    workspace = serializers.CharField(source="workflow.workspace.slug")
    workspace_id = serializers.UUIDField(source="workflow.workspace_id")
    workflow = serializers.CharField(source="workflow.name")
    created_by = serializers.CharField(source="created_by.username", allow_null=True, default=None)

    class Meta:
        model = WorkflowSchedule
        fields = [
            "id",
            "workspace",
            "workspace_id",
            "workflow",
            "workflow_id",
            "name",
            "cron",
            "timezone",
            "input_variables",
            "is_active",
            "created_by",
            "created_at",
            "next_at",
            "last_started_at",
            "last_error",
        ]


class ScheduleChange(StrictSerializer):
    """What a schedule says. ``cron``: minute, hour, day of the month, month, day of the week."""

    name = TextField(max_length=200)
    cron = TextField(max_length=schedules.MAX_CRON)
    timezone = TextField(required=False, max_length=50)
    input_variables = ObjectField(required=False)
    is_active = FlagField(required=False)


class ScheduleRequest(ScheduleChange):
    """A new schedule. ``workflow``: its id, or its name in the workspace."""

    workflow = TextField(max_length=200)
    workspace = TextField(required=False, max_length=100)


class SchedulePatch(ScheduleChange):
    """What of a schedule is to be changed."""

    name = TextField(required=False, max_length=200)
    cron = TextField(required=False, max_length=schedules.MAX_CRON)


class ScheduleFilter(InWorkspaceFilter):
    """``workflow``: id or name; ``q``: in names."""

    search_fields = ("name", "workflow__name")

    workspace = filters.CharFilter(field_name="workflow__workspace__slug", max_length=100)
    workflow = filters.CharFilter(method="of_workflow", max_length=200)
    is_active = filters.BooleanFilter()

    def of_workflow(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        identifier = as_uuid(value)
        if identifier:
            return queryset.filter(workflow_id=identifier)
        return queryset.filter(workflow__name=value)


class Schedules(ApiView):
    serializer_class = ScheduleSerializer
    queryset = WorkflowSchedule.objects.all()
    filterset_class = ScheduleFilter
    orderings = {"name": "name", "created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """The schedules of the caller's workspaces."""
        return self.answer_page(_visible(request))

    @extend_schema(request=ScheduleRequest, responses={201: ScheduleSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Let a workflow start by the clock, in the caller's name."""
        given = read_input(ScheduleRequest, request.data)
        workflow = _find_workflow(
            caller(request), given.pop("workflow"), given.pop("workspace", None)
        )
        made = schedules.create_schedule(workflow, user=caller(request), **given)
        location = request.build_absolute_uri(f"/api/v1/schedules/{made.pk}/")
        shown = self.get_serializer(get_visible(_visible(request), pk=made.pk)).data
        return Response(shown, status=status.HTTP_201_CREATED, headers={"Location": location})


class OneSchedule(ApiView):
    serializer_class = ScheduleSerializer
    queryset = WorkflowSchedule.objects.all()

    @extend_schema(operation_id="schedules_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """One schedule."""
        return Response(self.get_serializer(get_visible(_visible(request), pk=id)).data)

    @extend_schema(request=SchedulePatch, operation_id="schedules_change")
    def patch(self, request: Request, id: Any) -> Response:
        """Change what is given. Who switches it on answers for its runs."""
        given = read_input(SchedulePatch, request.data)
        schedules.change_schedule(id, user=caller(request), **given)
        return Response(self.get_serializer(get_visible(_visible(request), pk=id)).data)

    @extend_schema(responses={204: None}, operation_id="schedules_delete")
    def delete(self, request: Request, id: Any) -> Response:
        """Delete a schedule; the runs that it started stay."""
        schedules.delete_schedule(id, user=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _visible(request: Request) -> Any:
    found = WorkflowSchedule.objects.visible_to(caller(request))
    return found.select_related("workflow__workspace", "created_by").defer(
        "workflow__config", "workflow__metadata", "workflow__workspace__settings"
    )


def _find_workflow(user: User, named: str, slug: str | None) -> Workflow:
    workflows = Workflow.objects.visible_to(user).select_related("workspace")
    identifier = as_uuid(named)
    if identifier is None:
        found: Workflow = get_visible(workflows, workspace=find_workspace(user, slug), name=named)
        return found
    found = get_visible(workflows, pk=identifier)
    if slug not in (None, found.workspace.slug):
        raise NotVisible("There is no such workflow in this workspace.")
    return found
