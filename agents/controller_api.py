"""What people do with agents over REST: switch them, hand on, and see how they did."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api import AgentSerializer, visible_agents
from agents.memory.entries import MAX_KEY
from agents.models import AgentHandoff, AgentInstance
from agents.pages.performance import PERIODS, Performance, Performances
from agents.pages.spending import Spent, days_of, spent_by_each
from agents.prices import units_of
from agents.services import lifecycle
from agents.services.handoff import handoff_context
from workflows.api.base import ApiView, caller, get_visible
from workflows.api.fields import ObjectField, StrictSerializer, TextField, read_input
from workflows.api.idempotency import idempotent
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import InvalidInput


class NothingToSay(StrictSerializer):
    """There is nothing to say."""


class HandoffRequest(StrictSerializer):
    """To whom, which entries of memory, and what else: ``context`` is kept under its own keys."""

    to_agent_id = serializers.UUIDField()
    context = ObjectField(required=False)  # type: ignore[assignment]  # a field, by its name
    context_keys = serializers.ListField(
        child=TextField(max_length=MAX_KEY), required=False, max_length=1_000
    )
    handoff_metadata = ObjectField(required=False)


class HandoffSerializer(serializers.ModelSerializer[AgentHandoff]):
    """What an agent handed on. ``hops``: through how many hands it has gone; ``parent_id``: the
    handoff before."""

    class Meta:
        model = AgentHandoff
        fields = [
            "id",
            "workspace_id",
            "from_agent_id",
            "to_agent_id",
            "context",
            "context_keys",
            "handoff_metadata",
            "parent_id",
            "hops",
            "created_at",
        ]


class AgentDaySerializer(serializers.Serializer[Any]):
    """What the attempts of an agent came to that ended on a day (UTC)."""

    day = serializers.DateField()
    finished = serializers.IntegerField()
    failed = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost = serializers.FloatField()
    busy_seconds = serializers.FloatField()


class AgentMetricsSerializer(serializers.Serializer[Any]):
    """How an agent did. ``finished`` attempts, ``failed`` those that did not complete, of which
    another agent may have taken over some; durations in seconds; ``cost`` in the unit of the
    agent's prices. ``faults``: its own failures since it last succeeded. ``daily``: the last 30
    days, the oldest first, whatever the period."""

    period = serializers.ChoiceField(choices=list(PERIODS))
    finished = serializers.IntegerField()
    failed = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True)
    median_seconds = serializers.FloatField(allow_null=True)
    p95_seconds = serializers.FloatField(allow_null=True)
    load = serializers.IntegerField()
    max_concurrency = serializers.IntegerField()
    faults = serializers.IntegerField()
    last_error = serializers.CharField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost = serializers.FloatField()
    daily = AgentDaySerializer(many=True)


class _AgentView(ApiView):
    serializer_class: Any = AgentSerializer
    queryset = AgentInstance.objects.all()

    def agent(self, request: Request, id: Any) -> Any:
        return get_visible(visible_agents(request), pk=id)

    def switch(self, request: Request, id: Any, verb: Any) -> Response:
        agent = self.agent(request, id)
        read_input(NothingToSay, request.data)
        verb(agent.pk, user=caller(request))
        return Response(self.get_serializer(self.agent(request, id)).data)


class Activation(_AgentView):
    @extend_schema(request=NothingToSay, responses={200: AgentSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Put an agent to work, whatever it failed at before. 409 ``already_active``."""
        return self.switch(request, id, lifecycle.activate)


class Deactivation(_AgentView):
    @extend_schema(request=NothingToSay, responses={200: AgentSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Give an agent no further step; what is under way ends. 409 ``already_inactive``."""
        return self.switch(request, id, lifecycle.deactivate)


class Shutdown(_AgentView):
    @extend_schema(request=NothingToSay, responses={200: AgentSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Take an agent offline; what is under way ends. 409 ``already_offline``."""
        return self.switch(request, id, lifecycle.shutdown)


class Handing(_AgentView):
    serializer_class = HandoffSerializer

    @extend_schema(request=HandoffRequest, responses={201: HandoffSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Hand on to another agent of the workspace what an agent knows, all of it or nothing.

        An entry of memory has one owner: 409 ``already_handed_on`` until it is written anew.
        """
        agent = self.agent(request, id)
        body = read_input(HandoffRequest, request.data)
        handoff = handoff_context(agent.pk, user=caller(request), **body)
        return Response(self.get_serializer(handoff).data, status=status.HTTP_201_CREATED)


class AgentMetrics(_AgentView):
    serializer_class = AgentMetricsSerializer

    @extend_schema(parameters=[OpenApiParameter("period", str, enum=list(PERIODS))])
    def get(self, request: Request, id: Any) -> Response:
        """How an agent did in the last day, week or month."""
        word = request.query_params.get("period", "day")
        if word not in PERIODS:
            message = f"One of {', '.join(PERIODS)}"
            problem = Problem("", "invalid_choice", message, "/period")
            raise InvalidInput("There is no such period.", [problem], code="invalid_choice")
        agent = self.agent(request, id)
        now = database_now()
        performances = Performances(agent.workspace_id, PERIODS[word], now, agent_id=agent.pk)
        did = performances.of_each().get(agent.pk, Performance())
        spent = spent_by_each(agent.workspace_id, PERIODS[word], now, agent.pk).get(
            agent.pk, Spent()
        )
        rate = (did.finished - did.failed) / did.finished if did.finished else None
        figures = {
            "period": word,
            "finished": did.finished,
            "failed": did.failed,
            "success_rate": rate,
            "median_seconds": did.median,
            "p95_seconds": did.p95,
            "load": agent.load,
            "max_concurrency": agent.max_concurrency,
            "faults": agent.faults,
            "last_error": agent.last_error,
            **_spent(spent),
            "daily": [
                {
                    "day": day.day,
                    "finished": day.steps,
                    "failed": day.failures,
                    "busy_seconds": day.busy_ms / 1_000,
                    **_spent(day.spent),
                }
                for day in days_of(agent.pk, now).days
            ],
        }
        return Response(self.get_serializer(figures).data)


def _spent(spent: Spent) -> dict[str, Any]:
    return {
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cost": units_of(spent.cost_micros),
    }
