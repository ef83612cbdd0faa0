"""What the page of a run says of an agent's step: why that agent, who had failed before, and where
to read what was said."""

from __future__ import annotations

from django.db.models import Count, Max, Sum
from django.urls import reverse

from agents.models import AgentInstance, AgentMessage, AgentReservation
from agents.pages.assignments import Candidate, candidates_of, strategy_of, taken_from
from agents.pages.spending import money
from workflows.models import WorkflowStepExecution
from workflows.pages.chosen_step import Fact

_NAMED_AT_MOST = 5
_KEYS_AT_MOST = 8


def tell(row: WorkflowStepExecution) -> list[Fact]:
    """Return facts about the latest assignment of a step; some queries."""
    found = AgentReservation.objects.filter(
        step_execution_id=row.pk, workspace_id=row.execution.workspace_id
    )
    taken = found.select_related("agent_instance").order_by("-attempt").first()
    if taken is None:
        return []
    agents = AgentInstance.objects.filter(workspace_id=taken.workspace_id)
    candidates = candidates_of(taken, set(agents.values_list("slug", flat=True)))
    refused = [f"{each.slug}: {each.refusal}" for each in candidates if each.refusal]
    others = [_scored(each) for each in candidates if not each.refusal and not each.is_chosen]
    chosen = [_scored(each) for each in candidates if each.is_chosen]
    return [
        Fact("Agent chosen by", ", ".join([strategy_of(taken), *chosen]) if chosen else ""),
        Fact("Chosen over", ", ".join(others[:_NAMED_AT_MOST])),
        Fact("Refused", "; ".join(refused[:_NAMED_AT_MOST])),
        Fact("Took over from", taken_from(taken)),
        Fact("Remembered", ", ".join(_remembered(taken))),
        Fact("Spent", _spent(row)),
        *_conversations(row, taken),
    ]


def _remembered(taken: AgentReservation) -> list[str]:
    """Return the keys that the agent was told it remembers as the attempt began."""
    told = AgentMessage.objects.filter(
        step_execution_id=taken.step_execution_id,
        attempt=taken.attempt,
        data__has_key="memory_keys",
    ).first()
    keys: list[str] = told.data["memory_keys"] if told else []
    others = len(keys) - _KEYS_AT_MOST
    return [*keys[:_KEYS_AT_MOST], *([f"and {others} more"] if others > 0 else [])]


def _spent(row: WorkflowStepExecution) -> str:
    """Return what all attempts of a step have spent, in words; "" if that is nothing."""
    spent = AgentReservation.objects.filter(step_execution_id=row.pk).aggregate(
        into=Sum("input_tokens"), out=Sum("output_tokens"), cost=Sum("cost_micros")
    )
    tokens = (spent["into"] or 0) + (spent["out"] or 0)
    words = [f"{spent['into']:,} tokens in, {spent['out']:,} out"] if tokens else []
    if spent["cost"]:
        words.append(f"cost {money(spent['cost'])}")
    return ", ".join(words)


def _conversations(row: WorkflowStepExecution, taken: AgentReservation) -> list[Fact]:
    """Return links to what was said in a step, one for each agent that took it."""
    found = AgentMessage.objects.filter(
        step_execution_id=row.pk, workspace_id=taken.workspace_id
    ).values_list("agent_instance_id", "agent_instance__name")
    return [
        Fact(
            "Told and said",
            f"{count} message{'' if count == 1 else 's'} of {name}",
            f"{reverse('agent', args=[agent_id])}?conversation={row.pk}#conversations",
        )
        for agent_id, name, count, _ in found.annotate(n=Count("id"), last=Max("id")).order_by(
            "-last"
        )[:_NAMED_AT_MOST]
    ]


def _scored(candidate: Candidate) -> str:
    score = "" if candidate.score is None else f", score {candidate.score}"
    return f"{candidate.slug} ({candidate.load or 0} taken{score})"
