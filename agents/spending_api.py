"""How the budget of a workspace's agents stands, over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import AgentBudgetAnswer
from agents.prices import units_of
from agents.services.budgets import budget_of, fill_in, month_of
from workflows.api.base import ApiView, caller, find_workspace
from workflows.clock import database_now

_SHARES = ("granted", "spent", "lost", "reserved")


class TokensSerializer(serializers.Serializer[Any]):
    """Tokens of a month: what the policy allows, what was granted besides, what is spent (of which
    some was lost with attempts that were cut off) and what is reserved for steps under way."""

    budget = serializers.IntegerField(allow_null=True)
    granted = serializers.IntegerField()
    spent = serializers.IntegerField()
    lost = serializers.IntegerField()
    reserved = serializers.IntegerField()


class CostSerializer(serializers.Serializer[Any]):
    """The same in money, in the unit of the agents' prices."""

    budget = serializers.FloatField(allow_null=True)
    granted = serializers.FloatField()
    spent = serializers.FloatField()
    lost = serializers.FloatField()
    reserved = serializers.FloatField()


class BudgetSerializer(serializers.Serializer[Any]):
    """What a workspace's agents may spend this month. ``asked_by_step_id``: the step that has asked
    people for more, while they have not answered."""

    workspace_id = serializers.UUIDField()
    month = serializers.CharField()
    tokens = TokensSerializer()
    cost = CostSerializer()
    asked_by_step_id = serializers.UUIDField(allow_null=True)


class AgentBudget(ApiView):
    serializer_class: Any = BudgetSerializer
    queryset = AgentBudgetAnswer.objects.none()

    @extend_schema(parameters=[OpenApiParameter("workspace", str)])
    def get(self, request: Request) -> Response:
        """What the agents of a workspace have spent this month (UTC), and what they may.

        A budget is null where the workspace has none.
        """
        workspace = find_workspace(caller(request), request.query_params.get("workspace") or None)
        now = database_now()
        budget = budget_of(workspace.settings, month_of(now))
        fill_in({workspace.pk: budget}, now)
        asked = AgentBudgetAnswer.objects.filter(workspace=workspace, answered_at__isnull=True)
        figures = {
            "workspace_id": workspace.pk,
            "month": f"{budget.month:%Y-%m}",
            "tokens": {
                "budget": budget.tokens,
                **{name: getattr(budget, name).tokens for name in _SHARES},
            },
            "cost": {
                "budget": None if budget.cost_micros is None else units_of(budget.cost_micros),
                **{name: units_of(getattr(budget, name).cost_micros) for name in _SHARES},
            },
            "asked_by_step_id": asked.values_list("step_execution_id", flat=True).first(),
        }
        return Response(self.get_serializer(figures).data)
