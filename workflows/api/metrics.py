"""How the runs of a workflow went."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, get_visible
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import InvalidInput
from workflows.models import Workflow
from workflows.services.metrics import (
    Percentiles,
    StepMetrics,
    WorkflowMetrics,
    window_start,
    workflow_metrics,
)

DAYS, MAX_DAYS = 30, 366


class PercentilesSerializer(serializers.Serializer[Percentiles]):
    """Durations in seconds, of ``count`` of them; null where there are none."""

    count = serializers.IntegerField()
    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)


class StepMetricsSerializer(serializers.Serializer[StepMetrics]):
    """A step over all these runs. ``failures``: how often it failed for good."""

    name = serializers.CharField()
    step_type = serializers.CharField()
    runs = serializers.IntegerField()
    attempts = serializers.IntegerField()
    failures = serializers.IntegerField()
    skipped = serializers.IntegerField()
    median_seconds = serializers.FloatField(allow_null=True)


class WorkflowMetricsSerializer(serializers.Serializer[WorkflowMetrics]):
    """The runs since a moment. ``runs``: how many have each status; ``finished``: all that ended
    without being cancelled; ``success_rate``: the share of them that completed."""

    since = serializers.DateTimeField()
    runs = serializers.DictField(child=serializers.IntegerField())
    finished = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True)
    duration = PercentilesSerializer()
    running = PercentilesSerializer()
    waiting_for_people = PercentilesSerializer()
    steps = StepMetricsSerializer(many=True)


class Metrics(ApiView):
    serializer_class = WorkflowMetricsSerializer
    queryset = Workflow.objects.all()

    @extend_schema(
        operation_id="workflows_metrics_retrieve",
        parameters=[
            OpenApiParameter(
                "days",
                {"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": DAYS},
                description="Of runs made in the last so many days",
            )
        ],
    )
    def get(self, request: Request, id: Any) -> Response:
        """Runs by status, success rate, durations, and how each step did."""
        days = _read_days(request)
        workflow = get_visible(Workflow.objects.visible_to(caller(request)).only("id"), pk=id)
        since = window_start(database_now(), days)
        return Response(self.get_serializer(workflow_metrics(workflow.pk, since=since)).data)


def _read_days(request: Request) -> int:
    text = request.query_params.get("days", str(DAYS))
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAX_DAYS):
        problem = Problem("", "invalid", f"A whole number from 1 to {MAX_DAYS}", "/days")
        raise InvalidInput("days: a whole number.", [problem], code="invalid_days")
    return int(text)
