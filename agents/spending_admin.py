"""What agents did and spent, in the admin: columns of an agent, its days, and who granted what."""

from datetime import UTC, timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from agents.models import AgentBudgetAnswer, AgentInstance, AgentUsage
from agents.pages.performance import PERIODS, Performance, Performances
from agents.pages.spending import DAYS, money
from workflows.admin.display import link_to_id
from workflows.admin.filters import BoundedPaginator, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin
from workflows.clock import database_now
from workflows.models import WorkflowStepExecution
from workflows.wording import say_duration

_SUMS: Final = ("steps", "failures", "input_tokens", "output_tokens", "cost_micros")


def with_spending(agents: QuerySet[Any]) -> QuerySet[Any]:
    """Return agents with what they came to on their last 30 days, each sum as ``recent_…``."""
    first = database_now().astimezone(UTC).date() - timedelta(days=DAYS - 1)
    days = AgentUsage.objects.filter(agent_instance=OuterRef("pk"), day__gte=first).order_by()
    of_agent = days.values("agent_instance")
    found: QuerySet[Any] = agents.annotate(
        **{
            f"recent_{name}": Coalesce(
                Subquery(of_agent.annotate(n=Sum(name)).values("n"), output_field=IntegerField()),
                0,
            )
            for name in _SUMS
        }
    )
    return found


def _say(seconds: float | None) -> str:
    return "–" if seconds is None else say_duration(seconds)


class SpendingColumns:
    """What an agent did and spent in the last 30 days, of rows of ``with_spending``."""

    @admin.display(description="Success, 30 days")
    def success(self, agent: Any) -> str:
        return Performance(agent.recent_steps, agent.recent_failures).success

    @admin.display(description="Tokens in, out, 30 days")
    def tokens(self, agent: Any) -> str:
        return f"{agent.recent_input_tokens:,}, {agent.recent_output_tokens:,}"

    @admin.display(description="Cost, 30 days", ordering="recent_cost_micros")
    def cost(self, agent: Any) -> str:
        return money(agent.recent_cost_micros)

    @admin.display(description="Performance, 30 days")
    def performance(self, agent: AgentInstance) -> str:
        asked = Performances(agent.workspace_id, PERIODS["month"], database_now(), agent.pk)
        did = asked.of_each().get(agent.pk, Performance())
        if not did.finished:
            return "–"
        return (
            f"{did.success} of {did.finished} steps; {did.failed} failed; median"
            f" {_say(did.median)}, 95 % in {_say(did.p95)}"
        )


@admin.register(AgentUsage)
class AgentUsageAdmin(ScopedAdmin):
    """What the attempts of an agent came to that ended on a day."""

    list_display = (
        "day", "workspace", "agent_instance", "steps", "failures", "input_tokens", "output_tokens",
        "cost",
    )  # fmt: skip
    list_filter = (WorkspaceFilter, "day")
    list_select_related = ("workspace", "agent_instance")
    search_fields = ("agent_instance__name",)
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        ("workspace", "agent_instance", "day"),
        ("steps", "failures", "busy_ms"),
        ("input_tokens", "output_tokens", "cost"),
    )

    @admin.display(description="Cost", ordering="cost_micros")
    def cost(self, usage: AgentUsage) -> str:
        return money(usage.cost_micros)


@admin.register(AgentBudgetAnswer)
class AgentBudgetAnswerAdmin(ScopedAdmin):
    """When a budget was used up, which step asked for more, and what was granted."""

    list_display = ("asked_at", "workspace", "month", "of_step", "answered_at", "tokens", "cost")
    list_filter = (WorkspaceFilter, "month")
    list_select_related = ("workspace",)
    ordering = ("-id",)
    paginator = BoundedPaginator
    fields = (
        ("workspace", "month", "of_step"),
        ("asked_at", "answered_at"),
        ("tokens_budget", "cost_budget"),
        ("tokens", "cost"),
    )

    @admin.display(description="Step")
    def of_step(self, answer: AgentBudgetAnswer) -> Any:
        return link_to_id(WorkflowStepExecution, answer.step_execution_id, "Step")

    @admin.display(description="Cost granted", ordering="cost_micros")
    def cost(self, answer: AgentBudgetAnswer) -> str:
        return money(answer.cost_micros)

    @admin.display(description="Cost budget")
    def cost_budget(self, answer: AgentBudgetAnswer) -> str:
        return "–" if answer.cost_budget_micros is None else money(answer.cost_budget_micros)
