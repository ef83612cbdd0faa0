"""Why a run does not go on."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, get_visible
from workflows.api.executions import STATUSES
from workflows.models import WorkflowExecution
from workflows.services.explain import Reason, explain_execution


class ReasonSerializer(serializers.Serializer[Reason]):
    """One thing that a run waits for. ``until``: when it ends by itself; ``facts``: identifiers
    and figures of its ``code``."""

    code = serializers.CharField()
    message = serializers.CharField()
    step = serializers.CharField()
    step_execution_id = serializers.UUIDField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    facts = serializers.DictField()


class WhySerializer(serializers.Serializer[Any]):
    """What a run waits for, what matters most at first; nothing where it has ended."""

    execution_id = serializers.UUIDField()
    status = serializers.ChoiceField(STATUSES)
    reasons = ReasonSerializer(many=True)


class Why(ApiView):
    serializer_class = WhySerializer
    queryset = WorkflowExecution.objects.all()

    @extend_schema(operation_id="executions_why_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """What a run is waiting for: people, agents, places, times, other runs, the engine."""
        visible = WorkflowExecution.objects.visible_to(caller(request))
        execution = get_visible(visible.select_related("version", "driver"), pk=id)
        reasons = explain_execution(execution, caller(request))
        shown = {"execution_id": execution.pk, "status": execution.status, "reasons": reasons}
        return Response(self.get_serializer(shown).data)
