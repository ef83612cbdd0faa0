"""What the page of a run says of an agent's step: why that agent, and who had failed before."""

from __future__ import annotations

from agents.models import AgentInstance, AgentReservation
from agents.pages.assignments import Candidate, candidates_of, strategy_of, taken_from
from workflows.models import WorkflowStepExecution

_NAMED_AT_MOST = 5


def tell(row: WorkflowStepExecution) -> list[tuple[str, str]]:
    """Return facts about the latest assignment of a step, each with its name; two queries."""
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
        ("Agent chosen by", ", ".join([strategy_of(taken), *chosen]) if chosen else ""),
        ("Chosen over", ", ".join(others[:_NAMED_AT_MOST])),
        ("Refused", "; ".join(refused[:_NAMED_AT_MOST])),
        ("Took over from", taken_from(taken)),
    ]


def _scored(candidate: Candidate) -> str:
    score = "" if candidate.score is None else f", score {candidate.score}"
    return f"{candidate.slug} ({candidate.load or 0} taken{score})"
