"""Agents outside say over REST that they live."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.controller_api import NothingToSay
from agents.models import AgentInstance, AgentStatus
from agents.services.heartbeats import beat
from workflows.api.base import ApiView, caller, get_visible
from workflows.api.fields import read_input


class HeartbeatSerializer(serializers.Serializer[Any]):
    """What was noted. ``heartbeat_seconds``: after how long without another sign of life the agent
    gets no step; null for ever."""

    status = serializers.ChoiceField(choices=AgentStatus.choices)
    last_heartbeat = serializers.DateTimeField()
    heartbeat_seconds = serializers.FloatField(allow_null=True)


class Heartbeat(ApiView):
    serializer_class = HeartbeatSerializer
    queryset = AgentInstance.objects.all()
    scopes = {"POST": "heartbeat"}

    @extend_schema(request=NothingToSay, responses={200: HeartbeatSerializer})
    def post(self, request: Request, id: Any) -> Response:
        """Say that an agent lives: one that was offline for its silence is idle again.

        A token with the scope `heartbeat` alone may do this and nothing else.
        """
        agent = get_visible(AgentInstance.objects.visible_to(caller(request)), pk=id)
        read_input(NothingToSay, request.data)
        return Response(self.get_serializer(beat(agent.pk, user=caller(request))).data)
