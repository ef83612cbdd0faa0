"""When the steps of a run took place, with each of their attempts."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, get_visible
from workflows.api.steps import STATUSES
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.timeline import Attempt, Entry, entries_of, moved_steps

OUTCOMES = ["running", "completed", "failed", "asked", "abandoned"]


class AttemptSerializer(serializers.Serializer[Attempt]):
    """One attempt. ``started_at`` is null where it never began, or its event is no longer kept;
    ``ended_at`` while it runs. ``asked``: it stopped to ask people; ``abandoned``: its worker went
    away, at the latest when the next attempt began, or its run ended."""

    number = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    outcome = serializers.ChoiceField(OUTCOMES)
    error_code = serializers.CharField()
    agent = serializers.CharField()


class TimelineEntrySerializer(serializers.Serializer[Entry]):
    """A step in one revision. ``parent`` is the block that it stands in, "" at the top;
    ``started_at`` is that of its latest attempt."""

    id = serializers.UUIDField(source="row.id")
    name = serializers.CharField(source="row.name")
    parent = serializers.CharField(source="row.parent")  # type: ignore[assignment]  # a field
    step_type = serializers.CharField(source="row.step_type")
    revision = serializers.IntegerField(source="row.revision")
    status = serializers.ChoiceField(STATUSES, source="row.status")
    started_at = serializers.DateTimeField(source="row.started_at", allow_null=True)
    completed_at = serializers.DateTimeField(source="row.completed_at", allow_null=True)
    waiting_since = serializers.DateTimeField(allow_null=True)
    waiting_until = serializers.DateTimeField(allow_null=True)
    error_code = serializers.CharField(source="row.error_code")
    skip_reason = serializers.CharField(source="row.skip_reason")
    is_fallback = serializers.BooleanField(source="row.is_fallback")
    agent = serializers.CharField()
    agent_instance_id = serializers.UUIDField(source="row.agent_instance_id", allow_null=True)
    attempts = AttemptSerializer(many=True)


class Timeline(ApiView):
    serializer_class = TimelineEntrySerializer
    queryset = WorkflowStepExecution.objects.all()
    orderings = {"started_at": "at"}

    @extend_schema(operation_id="executions_timeline_list")
    def get(self, request: Request, id: Any) -> Response:
        """The steps that began or were skipped, the earliest first."""
        visible = WorkflowExecution.objects.visible_to(caller(request)).only("id")
        execution = get_visible(visible, pk=id)
        rows = self.paginate_queryset(moved_steps(execution.pk)) or []
        return self.get_paginated_response(self.get_serializer(entries_of(rows), many=True).data)
