"""What agents were told and said, over REST: members read."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import AgentInstance, AgentMessage, MessageRole
from workflows.api.base import ApiView, caller, get_visible
from workflows.api.filters import Choices, filters


class AgentMessageSerializer(serializers.ModelSerializer[AgentMessage]):
    """A message of an attempt; ``position``: its place in the conversation, where of a long one
    the middle is not kept. Written by whoever spoke: nobody has checked any of it."""

    class Meta:
        model = AgentMessage
        fields = [
            "id",
            "agent_instance_id",
            "step_execution_id",
            "attempt",
            "position",
            "role",
            "content",
            "data",
            "created_at",
        ]


class AgentMessageFilter(filters.FilterSet):  # type: ignore[misc]
    """``step_execution``: its id."""

    step_execution = filters.UUIDFilter(field_name="step_execution_id")
    attempt = filters.NumberFilter(min_value=1, max_value=2**31 - 1)
    role = Choices(choices=MessageRole.choices)


class AgentMessages(ApiView):
    serializer_class = AgentMessageSerializer
    queryset = AgentMessage.objects.all()
    filterset_class = AgentMessageFilter
    orderings = {"-id": "id"}

    def get(self, request: Request, id: Any) -> Response:
        """What an agent was told and said, the latest first; secrets are masked."""
        agent = get_visible(AgentInstance.objects.visible_to(caller(request)), pk=id)
        return self.answer_page(
            AgentMessage.objects.filter(agent_instance=agent, workspace_id=agent.workspace_id)
        )
